%% SPDX-License-Identifier: Apache-2.0
%% Load from this node on another one, the same way over gen_rpc, erpc and OTP's ssl. A wrong result
%% is an error, whatever the speed.
-module(gen_rpc_bench_load).

-export([run/4, calls/4, multicalls/3, bulk/3, echo/3, with_cpu/2]).

-type via() :: gen_rpc | erpc | ssl. % casts, results and several destinations: not over ssl
-type workload() :: {calls, Callers :: pos_integer()}
                  | {casts, Senders :: pos_integer()}
                  | {pipelined, async_call | send_request} % many calls of one process at a time
                  | bulk().
-type bulk() :: {bulk | results, Callers :: pos_integer(), Bytes :: pos_integer()}. % as arguments
-type figures() :: #{rate := float(), % calls or casts a second; bulk: MB a second
                     p50 => float(),  % us
                     p99 => float(),  % us
                     cpu => float()}. % us of all nodes for one call or cast; bulk: for a MB
-export_type([via/0, workload/0, bulk/0, figures/0]).

-define(TIMEOUT, 15000).
-define(PAYLOAD, 64).
-define(TARGET, gen_rpc_bench_target).

%% Casts between two readings of the clock, which takes a tenth of the time of one.
-define(CAST_BURST, 10).

%% Calls that one process has under way.
-define(PIPELINED, 100).

%% Keeps a node under load for so many milliseconds.
-spec run(via(), node(), workload(), pos_integer()) -> figures().
run(Via, Server, {calls, Callers}, Ms) ->
    calls(Via, [Server], Callers, Ms);
run(Via, Server, {casts, Senders}, Ms) ->
    ok = erpc:call(Server, ?TARGET, reset, []),
    Bursts = lists:duplicate(Senders, fun() -> casts(Via, Server, ?CAST_BURST) end),
    Send = fun() ->
                   Begin = erlang:monotonic_time(),
                   {_, Samples} = gen_rpc_bench_loop:closed(Bursts, Ms, ok),
                   Sent = length(Samples) * ?CAST_BURST,
                   Arrived = erpc:call(Server, ?TARGET, await, [Sent, ?TIMEOUT]),
                   {Sent, Arrived, gen_rpc_bench_loop:seconds(erlang:monotonic_time() - Begin)}
           end,
    case with_cpu([Server], Send) of
        {Cpu, {Sent, ok, Seconds}} ->
            #{rate => Sent / Seconds, cpu => Cpu / Sent};
        {_, {Sent, Arrived, _}} ->
            error({casts, #{via => Via, sent => Sent, arrived => Arrived}})
    end;
run(Via, Server, {pipelined, How}, Ms) ->
    Payload = payload(),
    Burst = fun() -> pipelined(Via, How, Server, Payload) end,
    {Cpu, {Seconds, Samples}} =
        with_cpu([Server], fun() -> gen_rpc_bench_loop:closed([Burst], Ms, ?PIPELINED) end),
    Count = length(Samples) * ?PIPELINED,
    #{rate => Count / Seconds, cpu => Cpu / Count};
run(Via, Server, Bulk, Ms) ->
    (bulk(Via, Server, Bulk))(Ms).

%% 64-byte calls; the callers are spread over the destinations.
-spec calls(via(), [gen_rpc:dest(), ...], Callers :: pos_integer(), Ms :: pos_integer()) ->
          figures().
calls(Via, Dests, Callers, Ms) ->
    Payload = payload(),
    Echoes = [echo(Via, lists:nth(1 + N rem length(Dests), Dests), Payload)
              || N <- lists:seq(1, Callers)],
    Servers = lists:usort([case Dest of {Node, _Key} -> Node; Node -> Node end || Dest <- Dests]),
    {Cpu, {Seconds, Samples}} =
        with_cpu(Servers, fun() -> gen_rpc_bench_loop:closed(Echoes, Ms, Payload) end),
    Count = length(Samples),
    #{rate => Count / Seconds,
      p50 => gen_rpc_bench_loop:microseconds(50, Samples),
      p99 => gen_rpc_bench_loop:microseconds(99, Samples),
      cpu => Cpu / Count}.

%% A multicall of all these nodes at a time, by one caller.
-spec multicalls(via(), [node(), ...], Ms :: pos_integer()) -> figures().
multicalls(Via, Servers, Ms) ->
    Payload = payload(),
    Expected = lists:duplicate(length(Servers), Payload),
    Multicall = fun() -> multicall(Via, Servers, Payload) end,
    {Cpu, {Seconds, Samples}} =
        with_cpu(Servers, fun() -> gen_rpc_bench_loop:closed([Multicall], Ms, Expected) end),
    Count = length(Samples),
    #{rate => Count / Seconds,
      p50 => gen_rpc_bench_loop:microseconds(50, Samples),
      p99 => gen_rpc_bench_loop:microseconds(99, Samples),
      cpu => Cpu / Count}.

multicall(gen_rpc, Servers, Payload) ->
    {Results, []} = gen_rpc:multicall(Servers, ?TARGET, echo, [Payload], ?TIMEOUT),
    Results;
multicall(erpc, Servers, Payload) ->
    [Result || {ok, Result} <- erpc:multicall(Servers, ?TARGET, echo, [Payload], ?TIMEOUT)].

%% How many of the results were right.
pipelined(gen_rpc, async_call, Server, Payload) ->
    Keys = [gen_rpc:async_call(Server, ?TARGET, echo, [Payload]) || _ <- lists:seq(1, ?PIPELINED)],
    length([right || Key <- Keys, gen_rpc:yield(Key) =:= Payload]);
pipelined(Via, _How, Server, Payload) ->
    Module = case Via of gen_rpc -> gen_rpc_erpc; erpc -> erpc end,
    Requests = [Module:send_request(Server, ?TARGET, echo, [Payload])
                || _ <- lists:seq(1, ?PIPELINED)],
    length([right || Request <- Requests, Module:receive_response(Request) =:= Payload]).

%% Makes what is to be sent; the function keeps the node under load for so many milliseconds.
-spec bulk(via(), node(), bulk()) -> fun((Ms :: pos_integer()) -> figures()).
bulk(Via, Server, {Kind, Callers, Bytes}) ->
    Call = bulk_call(Via, Server, Kind, Bytes),
    fun(Ms) ->
            Loops = lists:duplicate(Callers, Call),
            {Cpu, {Seconds, Samples}} =
                with_cpu([Server], fun() -> gen_rpc_bench_loop:closed(Loops, Ms, Bytes) end),
            MB = length(Samples) * Bytes / 1.0e6,
            #{rate => MB / Seconds, cpu => Cpu / MB}
    end.

bulk_call(Via, Server, bulk, Bytes) ->
    Payload = gen_rpc_bench_target:blob(Bytes),
    fun() -> call(Via, Server, size, [Payload]) end;
bulk_call(Via, Server, results, Bytes) ->
    ok = erpc:call(Server, ?TARGET, keep, [Bytes]),
    fun() -> byte_size(call(Via, Server, kept, [])) end.

%% A function that makes one call with this payload, and returns it.
-spec echo(via(), gen_rpc:dest(), Payload) -> fun(() -> Payload).
echo(Via, Dest, Payload) ->
    fun() -> call(Via, Dest, echo, [Payload]) end.

payload() ->
    rand:bytes(?PAYLOAD).

call(gen_rpc, Dest, Function, Args) ->
    gen_rpc:call(Dest, ?TARGET, Function, Args, ?TIMEOUT);
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

%% CPU time that a function takes of this node and the others, user and system, us. Schedulers spin
%% a little before they sleep, and that is in it, whatever is measured.
-spec with_cpu([node()], fun(() -> Result)) -> {Us :: non_neg_integer(), Result}.
with_cpu(Servers, Function) ->
    Nodes = [os:getpid() | [erpc:call(Server, os, getpid, []) || Server <- Servers]],
    Before = cpu(Nodes),
    Result = Function(),
    {cpu(Nodes) - Before, Result}.

cpu(OsPids) ->
    lists:sum([gen_rpc_bench_os:cpu(OsPid) || OsPid <- OsPids]).
