%% SPDX-License-Identifier: Apache-2.0
%% Processes that call a function again and again, and the times that it takes. Every process keeps
%% the times of its own calls, so measuring costs the same whatever is measured. A wrong result is
%% an error.
-module(gen_rpc_bench_loop).

-export([closed/3, paced/3, microseconds/2, seconds/1]).

-type samples() :: [non_neg_integer()]. % native time units
-export_type([samples/0]).

%% Between two paced calls, ms. The VM's timers make it one to two.
-define(PAUSE, 1).

%% A process for each function, all at once, for so many milliseconds: each calls its function as
%% soon as it has returned what it should. Seconds until the last has returned.
-spec closed([fun(() -> T), ...], pos_integer(), T) -> {Seconds :: float(), samples()}.
closed(Functions, Ms, Expected) ->
    Loops = [spawn_monitor(fun() ->
                                   receive {go, Begin, End} ->
                                           loop(Function, Expected, Begin, End, [])
                                   end
                           end) || Function <- Functions],
    Begin = erlang:monotonic_time(),
    End = Begin + erlang:convert_time_unit(Ms, millisecond, native),
    lists:foreach(fun({Pid, _}) -> Pid ! {go, Begin, End} end, Loops),
    {Ends, Samples} = lists:unzip([result(Loop) || Loop <- Loops]),
    {seconds(lists:max(Ends) - Begin), lists:append(Samples)}.

%% One process that pauses before every call, so that it leaves the machine to others, while
%% something else goes on.
-spec paced(fun(() -> T), T, fun(() -> Result)) -> {Result, samples()}.
paced(Function, Expected, During) ->
    {Pid, _} = Loop = spawn_monitor(fun() -> paced_loop(Function, Expected, []) end),
    Result = During(),
    Pid ! finish,
    {_, Samples} = result(Loop),
    {Result, Samples}.

%% The time that so many percent of the samples do not exceed.
-spec microseconds(Percent :: 1..100, samples()) -> float().
microseconds(Percent, Samples) ->
    Nth = max(1, (length(Samples) * Percent + 50) div 100),
    seconds(lists:nth(Nth, lists:sort(Samples))) * 1.0e6.

-spec seconds(Native :: integer()) -> float().
seconds(Native) ->
    Native / erlang:convert_time_unit(1, second, native).

loop(Function, Expected, T0, End, Samples) ->
    ok = check(Function(), Expected),
    case erlang:monotonic_time() of
        T when T < End -> loop(Function, Expected, T, End, [T - T0 | Samples]);
        T -> exit({done, T, [T - T0 | Samples]})
    end.

paced_loop(Function, Expected, Samples) ->
    receive
        finish ->
            exit({done, erlang:monotonic_time(), Samples})
    after ?PAUSE ->
            T0 = erlang:monotonic_time(),
            ok = check(Function(), Expected),
            paced_loop(Function, Expected, [erlang:monotonic_time() - T0 | Samples])
    end.

check(Expected, Expected) -> ok;
check(Other, _Expected) -> exit({wrong_result, lists:flatten(io_lib:format("~0P", [Other, 20]))}).

result({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {done, End, Samples}} -> {End, Samples};
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.
