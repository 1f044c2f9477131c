%% SPDX-License-Identifier: Apache-2.0
%% What is measured, and what is aimed at.
-module(gen_rpc_bench_suite).

-export([all/0, rows/2]).

-type item() :: {Name :: string(), term(), Targets :: #{atom() => number()}}.
-type context() :: #{call := fun((module(), atom(), [term()]) -> term()), % runs on the client
                     server := node(),
                     rounds := pos_integer(),
                     ms := pos_integer(), % of a round
                     connections := pos_integer()}. % whose memory is measured
-export_type([item/0, context/0]).

-define(KB500, 500000).
-define(MB20, 20000000).

%% Targets are ratios to erpc where that runs beside, else figures.
-spec all() -> [item()].
all() ->
    [{"calls, 1 caller", {calls, 1}, #{p50 => 1.0}},
     {"calls, 16 callers", {calls, 16}, #{}},
     {"calls, 256 callers", {calls, 256}, #{rate => 2.0}},
     {"calls, 2000 callers", {calls, 2000}, #{rate => 2.0}},
     {"casts, 1 sender", {casts, 1}, #{rate => 2.5}},
     {"casts, 16 senders", {casts, 16}, #{rate => 2.5}},
     {"500 kB, 1 caller", {bulk, 1, ?KB500}, #{}},
     {"500 kB, 16 callers", {bulk, 16, ?KB500}, #{}},
     {"20 MB, 1 caller", {bulk, 1, ?MB20}, #{rate => 1.2}},
     {"connections, 200 at once", {connections, 200}, #{rate => 1000}},
     {"idle connection", memory, #{}},
     {"limit: frames in C", frames, #{}},
     {"limit: terms in one VM", {terms, 256}, #{}}].

-spec rows(item(), context()) -> [gen_rpc_bench_report:row()].
rows({Name, {connections, Count}, Targets}, Context) ->
    Rates = alone(Context, gen_rpc_bench_connections, rate, [maps:get(server, Context), Count]),
    [gen_rpc_bench_report:alone(Name, {more, "/s"}, Rates, maps:get(rate, Targets, null))];
rows({Name, memory, _}, #{connections := Count}) ->
    %% On fresh nodes: what earlier load has left resident would be used first.
    Sides = gen_rpc_bench_node:with_pair(
              fun(Client, #{node := Server}) ->
                      gen_rpc_bench_node:call(Client, gen_rpc_bench_connections, memory,
                                              [Server, Count])
              end),
    [gen_rpc_bench_report:alone(lists:concat([Name, ", ", Side, ", ", What]), {less, "bytes"},
                                [maps:get(What, maps:get(Side, Sides))], null)
     || Side <- [client, server], What <- [rss, vm, driver]];
rows({Name, frames, _}, #{ms := Ms} = Context) ->
    Program = filename:join(filename:dirname(code:which(?MODULE)), "frame_echo"),
    Rates = alone(Context, gen_rpc_bench_limits, frames, [Program, Ms]),
    [gen_rpc_bench_report:alone(Name, {more, "/s"}, Rates, null)];
rows({Name, {terms, Callers}, _}, #{ms := Ms} = Context) ->
    Rates = alone(Context, gen_rpc_bench_limits, terms, [Callers, Ms]),
    [gen_rpc_bench_report:alone(Name, {more, "/s"}, Rates, null)];
rows({Name, Workload, Targets}, #{call := Call, server := Server, rounds := N, ms := Ms}) ->
    Measure = fun(Via) -> Call(gen_rpc_bench_load, run, [Via, Server, Workload, Ms]) end,
    Rounds = gen_rpc_bench_rounds:versus(N, Measure),
    [gen_rpc_bench_report:row(Name, Unit, Key, Rounds, maps:get(Key, Targets, null))
     || {Key, Unit} <- figures(Workload)].

alone(#{call := Call, rounds := N}, M, F, A) ->
    gen_rpc_bench_rounds:alone(N, fun() -> Call(M, F, A) end).

figures({calls, 256}) -> figures(calls) ++ [{cpu, {less, "us CPU"}}];
figures({calls, _}) -> figures(calls);
figures({casts, _}) -> [{rate, {more, "/s"}}];
figures({bulk, _, _}) -> [{rate, {more, "MB/s"}}];
figures(calls) -> [{rate, {more, "/s"}}, {p50, {less, "us p50"}}, {p99, {less, "us p99"}}].
