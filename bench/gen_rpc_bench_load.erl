%% SPDX-License-Identifier: Apache-2.0
%% Load from this node on another one, the same way over gen_rpc, erpc and OTP's ssl. A wrong result
%% is an error, whatever the speed.
-module(gen_rpc_bench_load).

-export([run/4, closed_loop/4]).

-type via() :: gen_rpc | erpc | ssl. % casts: not over ssl
-type workload() :: {calls, Callers :: pos_integer()}
                  | {casts, Senders :: pos_integer()}
                  | {bulk, Callers :: pos_integer(), Bytes :: pos_integer()}.
-type figures() :: #{rate := float(), % calls or casts a second; bulk: MB a second
                     p50 => float(),  % us
                     p99 => float(),  % us
                     cpu => float()}. % us of both nodes for one call; bulk: for a MB
-export_type([via/0, workload/0, figures/0]).

-define(TIMEOUT, 15000).
-define(PAYLOAD, 64).
-define(TARGET, gen_rpc_bench_target).

%% Casts between two readings of the clock, which takes a tenth of the time of one.
-define(CAST_BURST, 10).

%% Keeps a node under load for so many milliseconds.
-spec run(via(), node(), workload(), pos_integer()) -> figures().
run(Via, Server, {calls, Callers}, Ms) ->
    Payload = rand:bytes(?PAYLOAD),
    Echo = fun() -> call(Via, Server, echo, [Payload]) end,
    {Cpu, {Seconds, Samples}} =
        with_cpu(Server, fun() -> closed_loop(Callers, Ms, Echo, Payload) end),
    Count = length(Samples),
    Sorted = lists:sort(Samples),
    #{rate => Count / Seconds,
      p50 => microseconds(lists:nth((Count + 1) div 2, Sorted)),
      p99 => microseconds(lists:nth(max(1, Count * 99 div 100), Sorted)),
      cpu => Cpu / Count};
run(Via, Server, {bulk, Callers, Bytes}, Ms) ->
    Payload = binary:copy(rand:bytes(1000), Bytes div 1000),
    Size = fun() -> call(Via, Server, size, [Payload]) end,
    {Cpu, {Seconds, Samples}} =
        with_cpu(Server, fun() -> closed_loop(Callers, Ms, Size, Bytes) end),
    MB = length(Samples) * Bytes / 1.0e6,
    #{rate => MB / Seconds, cpu => Cpu / MB};
run(Via, Server, {casts, Senders}, Ms) ->
    ok = erpc:call(Server, ?TARGET, reset, []),
    Begin = erlang:monotonic_time(),
    {_, Samples} = closed_loop(Senders, Ms, fun() -> casts(Via, Server, ?CAST_BURST) end, ok),
    Sent = length(Samples) * ?CAST_BURST,
    case erpc:call(Server, ?TARGET, await, [Sent, ?TIMEOUT]) of
        ok -> #{rate => Sent / seconds(erlang:monotonic_time() - Begin)};
        Arrived -> error({casts, #{via => Via, sent => Sent, arrived => Arrived}})
    end.

%% Processes that call a function again and again, each as soon as it has returned what it should.
%% Every process keeps the times of its own calls, so measuring costs the same whatever is measured.
-spec closed_loop(pos_integer(), pos_integer(), fun(() -> T), T) ->
          {Seconds :: float(), NativeTimes :: [non_neg_integer()]}.
closed_loop(Processes, Ms, Function, Expected) ->
    Loops = [spawn_monitor(fun() ->
                                   receive {go, Begin, End} ->
                                           loop(Function, Expected, Begin, End, [])
                                   end
                           end) || _ <- lists:seq(1, Processes)],
    Begin = erlang:monotonic_time(),
    End = Begin + erlang:convert_time_unit(Ms, millisecond, native),
    lists:foreach(fun({Pid, _}) -> Pid ! {go, Begin, End} end, Loops),
    {Ends, Samples} = lists:unzip([result(Loop) || Loop <- Loops]),
    {seconds(lists:max(Ends) - Begin), lists:append(Samples)}.

loop(Function, Expected, T0, End, Samples) ->
    case Function() of
        Expected -> ok;
        Other -> exit({wrong_result, short(Other)})
    end,
    case erlang:monotonic_time() of
        T when T < End -> loop(Function, Expected, T, End, [T - T0 | Samples]);
        T -> exit({done, T, [T - T0 | Samples]})
    end.

result({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {done, End, Samples}} -> {End, Samples};
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.

call(gen_rpc, Server, Function, Args) ->
    gen_rpc:call(Server, ?TARGET, Function, Args, ?TIMEOUT);
call(erpc, Server, Function, Args) ->
    erpc:call(Server, ?TARGET, Function, Args, ?TIMEOUT);
call(ssl, _Server, Function, Args) ->
    gen_rpc_bench_ssl:call(?TARGET, Function, Args, ?TIMEOUT).

casts(_Via, _Server, 0) ->
    ok;
casts(gen_rpc, Server, N) ->
    true = gen_rpc:cast(Server, ?TARGET, count, []),
    casts(gen_rpc, Server, N - 1);
casts(erpc, Server, N) ->
    ok = erpc:cast(Server, ?TARGET, count, []),
    casts(erpc, Server, N - 1).

%% CPU time of both nodes that a function takes, us.
with_cpu(Server, Function) ->
    Nodes = [os:getpid(), erpc:call(Server, os, getpid, [])],
    Before = cpu(Nodes),
    Result = Function(),
    {cpu(Nodes) - Before, Result}.

cpu(OsPids) ->
    lists:sum([gen_rpc_bench_os:cpu(OsPid) || OsPid <- OsPids]).

microseconds(Native) ->
    seconds(Native) * 1.0e6.

seconds(Native) ->
    Native / erlang:convert_time_unit(1, second, native).

short(Term) ->
    lists:flatten(io_lib:format("~0P", [Term, 20])).
