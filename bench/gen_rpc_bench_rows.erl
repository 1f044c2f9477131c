%% SPDX-License-Identifier: Apache-2.0
%% An item of the suite is measured, and becomes rows: beside whom, how often, which figures.
-module(gen_rpc_bench_rows).

-export([rows/2, possible/1]).

-type workload() :: gen_rpc_bench_load:workload()
                  | {beside, gen_rpc_bench_load:bulk()}
                  | {peers | keys | multicall, pos_integer()}
                  | {connections, pos_integer()}
                  | {long | callbacks, gen_rpc_bench_long:load()}
                  | {compress, gen_rpc_bench_compress:variant(), gen_rpc_bench_compress:what()}
                  | stopped
                  | memory
                  | frames
                  | arithmetic
                  | {terms, Callers :: pos_integer()}.
-type context() :: #{call := fun((module(), atom(), [term()]) -> term()), % runs on the client
                     servers := [node(), ...],
                     tls := gen_rpc_bench_tls:t() | none,
                     rounds := pos_integer(),
                     ms := pos_integer(), % of a round
                     connections := pos_integer(), % whose memory is measured
                     wait := pos_integer(), % SendTimeout of casts to a stopped node, ms
                     suite := string(),
                     only := string()}.
-export_type([workload/0, context/0]).

%% So many call each of several peers, and all keys of one together.
-define(PEER_CALLERS, 16).
-define(KEY_CALLERS, 256).

-spec rows(gen_rpc_bench_suite:item(), context()) -> [gen_rpc_bench_report:row()].
rows({Name, How, Workload, Targets}, Context) ->
    Sides = sides(How, Workload),
    Rounds = rounds(Workload, Sides, Context#{how => How}),
    [gen_rpc_bench_report:row(Name ++ Suffix, Unit, Key, Than, Rounds,
                              maps:get({Key, Than}, Targets, null))
     || {Key, Suffix, Unit} <- figures(How, Workload), Than <- others(Sides)].

%% Whether gen_rpc has what it takes.
-spec possible(gen_rpc_bench_suite:item()) -> boolean().
possible({_Name, _How, {compress, _, _}, _Targets}) -> gen_rpc_bench_compress:available();
possible(_Item) -> true.

%%% Beside whom

sides(_, frames) -> [limit];
sides(_, arithmetic) -> [limit];
sides(_, {terms, _}) -> [limit];
sides(tcp, {connections, _}) -> [gen_rpc];
sides(tcp, memory) -> [gen_rpc];
sides(_, {callbacks, _}) -> [gen_rpc];
sides(_, {long, {connections, _}}) -> [gen_rpc];
sides(tcp, {long, _}) -> [gen_rpc, erpc];
sides(_, {long, _}) -> [gen_rpc];
sides(_, {keys, _}) -> [gen_rpc];
sides(_, {compress, _, _}) -> [gen_rpc, plain];
sides(tcp, _) -> [gen_rpc, erpc];
sides({tcp, _}, _) -> [gen_rpc, erpc];
sides(_, {calls, _}) -> [gen_rpc, erpc, ssl];
sides(_, memory) -> [gen_rpc, ssl];
sides(_, {beside, _}) -> [gen_rpc];
sides(_, stopped) -> [gen_rpc];
sides(_, _) -> [gen_rpc, ssl, limit].

others([gen_rpc]) -> [none];
others(Sides) -> Sides -- [gen_rpc].

%%% How often

%% Memory does not vary, and what a round before has left resident would be used first.
rounds(Workload, Sides, Context) when Workload =:= memory; Workload =:= stopped ->
    once(Sides, Workload, Context);
%% Of what must not happen the sum and the worst are wanted, not the median.
rounds(arithmetic, Sides, #{rounds := N, ms := Ms} = Context) ->
    once(Sides, arithmetic, Context#{ms := 10 * N * Ms});
rounds({What, _} = Workload, Sides, #{rounds := N, ms := Ms} = Context)
  when What =:= long; What =:= callbacks ->
    once(Sides, Workload, Context#{ms := N * Ms div 2 + 1});
rounds(Workload, Sides, #{rounds := N} = Context) ->
    gen_rpc_bench_rounds:all(N, Sides, fun(Side) -> measure(Side, Workload, Context) end).

once(Sides, Workload, Context) ->
    [maps:from_list([{Side, measure(Side, Workload, Context)} || Side <- Sides])].

measure(limit, Workload, Context) ->
    limit(Workload, Context);
measure(Side, memory, #{connections := Count} = Context) ->
    on_fresh_pair(fun(#{client := Client, server := #{node := Server}}) ->
                          gen_rpc_bench_node:call(Client, gen_rpc_bench_connections, memory,
                                                  [Side, Server, Count])
                  end, Context);
measure(Side, stopped, #{wait := Wait} = Context) ->
    on_fresh_pair(fun(Pair) -> gen_rpc_bench_stopped:run(Side, Pair, Wait) end, Context);
measure(Side, Workload, #{call := Call, servers := [Server | _] = Servers, ms := Ms}) ->
    case Workload of
        {connections, Count} ->
            #{rate => Call(gen_rpc_bench_connections, rate, [Side, Server, Count])};
        {beside, Bulk} ->
            Call(gen_rpc_bench_fair, run, [Side, Server, Bulk, Ms]);
        {callbacks, Load} ->
            Call(gen_rpc_bench_callbacks, run, [Server, Load, Ms]);
        {long, Load} ->
            Call(gen_rpc_bench_long, run, [Side, Server, Load, Ms]);
        {peers, N} ->
            Call(gen_rpc_bench_load, calls,
                 [Side, lists:sublist(Servers, N), N * ?PEER_CALLERS, Ms]);
        {multicall, N} ->
            Call(gen_rpc_bench_load, multicalls, [Side, lists:sublist(Servers, N), Ms]);
        {keys, N} ->
            Call(gen_rpc_bench_load, calls,
                 [Side, [{Server, Key} || Key <- lists:seq(1, N)], ?KEY_CALLERS, Ms]);
        {compress, _, What} when Side =:= plain ->
            Call(gen_rpc_bench_compress, run, [plain, Server, What, Ms]);
        {compress, Variant, What} ->
            Call(gen_rpc_bench_compress, run, [Variant, Server, What, Ms]);
        _ ->
            Call(gen_rpc_bench_load, run, [Side, Server, Workload, Ms])
    end.

on_fresh_pair(Function, #{how := How, suite := Suite}) ->
    gen_rpc_bench_node:with_pair(How, Suite, Function).

limit(frames, #{ms := Ms}) ->
    gen_rpc_bench_limits:frames(Ms);
limit(arithmetic, #{ms := Ms}) ->
    gen_rpc_bench_limits:arithmetic(Ms);
limit({terms, Callers}, #{call := Call, ms := Ms}) ->
    Call(gen_rpc_bench_limits, terms, [Callers, Ms]);
limit({bulk, _, _}, #{tls := Tls, ms := Ms}) ->
    gen_rpc_bench_limits:records(Tls, Ms);
limit({connections, _}, #{how := How, tls := Tls, ms := Ms}) ->
    Kind = case How of ssl -> resumed; ssl_full -> full end,
    gen_rpc_bench_limits:handshakes(Kind, Tls, Ms).

%%% Figures: key, what is added to the name, unit

figures(_, {calls, _}) -> latency() ++ [{cpu, "", {less, "us CPU"}}];
figures(_, {casts, _}) -> [{rate, "", {more, "/s"}}, {cpu, "", {less, "us CPU"}}];
figures(tcp, {bulk, _, _}) -> [{rate, "", {more, "MB/s"}}];
%% Unlike its rate, what it costs can be compared also when others work on the machine.
figures(_, {bulk, _, _}) -> [{rate, "", {more, "MB/s"}}, {cpu, "", {less, "us/MB"}}];
figures(_, {beside, _}) ->
    [{quiet_p50, ", calls alone", {less, "us p50"}},
     {p50, ", calls", {less, "us p50"}},
     {quiet_p99, ", calls alone", {less, "us p99"}},
     {p99, ", calls", {less, "us p99"}},
     {times, ", calls", {less, "x p99"}},
     {alone, ", bulk alone", {more, "MB/s"}},
     {rate, ", bulk", {more, "MB/s"}},
     {kept, ", bulk", {more, "x rate"}}];
figures(_, {long, _}) ->
    [{count, ", ports", {less, ""}},
     {worst, ", worst", {less, "ms"}},
     {owners, ", owners", {less, ""}}];
figures(_, What) when What =:= arithmetic; element(1, What) =:= callbacks ->
    [{count, ", all", {more, ""}},
     {over_400, ", over 0.4 ms", {less, ""}},
     {over_700, ", over 0.7 ms", {less, ""}},
     {over_1000, ", over 1 ms", {less, ""}},
     {longest, ", longest", {less, "us CPU"}}];
figures(_, {compress, _, message}) ->
    [{rate, "", {more, "/s"}}, {wire, "", {less, "bytes"}}, {cpu, "", {less, "us CPU"}}];
figures(_, {compress, _, terms}) ->
    [{rate, "", {more, "MB/s"}}, {wire, "", {less, "bytes"}}, {cpu, "", {less, "us/MB"}}];
figures(_, {pipelined, _}) -> [{rate, "", {more, "/s"}}, {cpu, "", {less, "us CPU"}}];
figures(_, {multicall, _}) -> latency() ++ [{cpu, "", {less, "us CPU"}}];
figures(_, {peers, _}) -> latency();
figures(_, {keys, _}) -> latency();
figures(_, stopped) ->
    [{rss, ", resident", {less, "MB"}},
     {vm, ", VM", {less, "MB"}},
     {offered, ", offered", {more, "MB"}},
     {seconds, ", offered in", {less, "s"}}];
figures(_, memory) ->
    [{{Side, What}, lists:concat([", ", Side, ", ", What]), {less, "bytes"}}
     || Side <- [client, server], What <- [rss, vm, driver]];
figures(_, _) -> [{rate, "", {more, "/s"}}].

latency() ->
    [{rate, "", {more, "/s"}}, {p50, "", {less, "us p50"}}, {p99, "", {less, "us p99"}}].
