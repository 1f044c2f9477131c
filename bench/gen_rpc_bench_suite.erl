%% SPDX-License-Identifier: Apache-2.0
%% What is measured, beside what, and what is aimed at.
-module(gen_rpc_bench_suite).

-export([all/0, rows/2]).

-type item() :: {Name :: string(), gen_rpc_bench_node:how(), workload(), targets()}.
-type workload() :: gen_rpc_bench_load:workload()
                  | {connections, pos_integer()}
                  | memory
                  | long
                  | frames
                  | {terms, Callers :: pos_integer()}.
%% Of the ratio to another one; without another one of the figure.
-type targets() :: #{{Key :: atom(), gen_rpc_bench_report:other()} => number()}.
-type context() :: #{call := fun((module(), atom(), [term()]) -> term()), % runs on the client
                     server := node(),
                     tls := gen_rpc_bench_tls:t() | none,
                     rounds := pos_integer(),
                     ms := pos_integer(), % of a round
                     connections := pos_integer(), % whose memory is measured
                     suite := string(),
                     only := string()}.
-export_type([item/0, context/0]).

-define(KB500, 500000).
-define(MB20, 20000000).

-spec all() -> [item()].
all() ->
    plain() ++ tls().

plain() ->
    [{"calls, 1 caller", tcp, {calls, 1}, #{{p50, erpc} => 1.0}},
     {"calls, 16 callers", tcp, {calls, 16}, #{}},
     {"calls, 256 callers", tcp, {calls, 256}, #{{rate, erpc} => 2.0}},
     {"calls, 2000 callers", tcp, {calls, 2000}, #{{rate, erpc} => 2.0}},
     {"casts, 1 sender", tcp, {casts, 1}, #{{rate, erpc} => 2.5}},
     {"casts, 16 senders", tcp, {casts, 16}, #{{rate, erpc} => 2.5}},
     {"500 kB, 1 caller", tcp, {bulk, 1, ?KB500}, #{}},
     {"500 kB, 16 callers", tcp, {bulk, 16, ?KB500}, #{}},
     {"20 MB, 1 caller", tcp, {bulk, 1, ?MB20}, #{{rate, erpc} => 1.2}},
     {"connections, 200 at once", tcp, {connections, 200}, #{{rate, none} => 1000}},
     {"ports over 1 ms", tcp, long, #{}},
     {"idle connection", tcp, memory, #{}},
     {"limit: frames in C", tcp, frames, #{}},
     {"limit: terms in one VM", tcp, {terms, 256}, #{}}].

tls() ->
    [{"TLS calls, 1 caller", ssl, {calls, 1}, #{}},
     {"TLS calls, 16 callers", ssl, {calls, 16}, #{}},
     {"TLS calls, 256 callers", ssl, {calls, 256}, #{{rate, erpc} => 1.4}},
     {"TLS 500 kB, 1 caller", ssl, {bulk, 1, ?KB500}, #{{rate, limit} => 0.85}},
     {"TLS 500 kB, 16 callers", ssl, {bulk, 16, ?KB500}, #{{rate, limit} => 0.85}},
     {"TLS 20 MB, 1 caller", ssl, {bulk, 1, ?MB20}, #{{rate, limit} => 0.85}},
     {"TLS connections, 200, resumed", ssl, {connections, 200}, #{}},
     {"TLS ports over 1 ms", ssl, long, #{}},
     {"TLS connections, 200, full", ssl_full, {connections, 200}, #{}},
     {"idle TLS connection", ssl, memory, #{}}].

-spec rows(item(), context()) -> [gen_rpc_bench_report:row()].
rows({Name, How, Workload, Targets}, Context) ->
    Sides = sides(How, Workload),
    Rounds = rounds(Workload, Sides, Context#{how => How}),
    [gen_rpc_bench_report:row(Name ++ Suffix, Unit, Key, Than, Rounds,
                              maps:get({Key, Than}, Targets, null))
     || {Key, Suffix, Unit} <- figures(How, Workload), Than <- others(Sides)].

sides(_, frames) -> [limit];
sides(_, {terms, _}) -> [limit];
sides(tcp, {connections, _}) -> [gen_rpc];
sides(tcp, memory) -> [gen_rpc];
sides(_, long) -> [gen_rpc];
sides(tcp, _) -> [gen_rpc, erpc];
sides(_, {calls, _}) -> [gen_rpc, erpc, ssl];
sides(_, memory) -> [gen_rpc, ssl];
sides(_, _) -> [gen_rpc, ssl, limit].

others([gen_rpc]) -> [none];
others(Sides) -> Sides -- [gen_rpc].

%% Memory does not vary, and what a round before has left resident would be used first.
rounds(memory, Sides, Context) ->
    [maps:from_list([{Side, measure(Side, memory, Context)} || Side <- Sides])];
rounds(Workload, Sides, #{rounds := N} = Context) ->
    gen_rpc_bench_rounds:all(N, Sides, fun(Side) -> measure(Side, Workload, Context) end).

measure(limit, Workload, Context) ->
    limit(Workload, Context);
measure(Side, {connections, Count}, #{call := Call, server := Server}) ->
    #{rate => Call(gen_rpc_bench_connections, rate, [Side, Server, Count])};
measure(gen_rpc, long, #{call := Call, server := Server, ms := Ms}) ->
    Call(gen_rpc_bench_long, run, [Server, Ms]);
measure(Side, memory, #{how := How, suite := Suite, connections := Count}) ->
    %% On fresh nodes, for the same reason.
    gen_rpc_bench_node:with_pair(
      How, Suite,
      fun(#{client := Client, server := #{node := Server}}) ->
              gen_rpc_bench_node:call(Client, gen_rpc_bench_connections, memory,
                                      [Side, Server, Count])
      end);
measure(Side, Workload, #{call := Call, server := Server, ms := Ms}) ->
    Call(gen_rpc_bench_load, run, [Side, Server, Workload, Ms]).

limit(frames, #{ms := Ms}) ->
    gen_rpc_bench_limits:frames(Ms);
limit({terms, Callers}, #{call := Call, ms := Ms}) ->
    Call(gen_rpc_bench_limits, terms, [Callers, Ms]);
limit({bulk, _, _}, #{tls := Tls, ms := Ms}) ->
    gen_rpc_bench_limits:records(Tls, Ms);
limit({connections, _}, #{how := How, tls := Tls, ms := Ms}) ->
    Kind = case How of ssl -> resumed; ssl_full -> full end,
    gen_rpc_bench_limits:handshakes(Kind, Tls, Ms).

%% Key, what is added to the name, unit.
figures(_, {calls, 256}) -> calls() ++ [{cpu, "", {less, "us CPU"}}];
figures(_, {calls, _}) -> calls();
figures(tcp, {bulk, _, _}) -> [{rate, "", {more, "MB/s"}}];
%% Unlike its rate, what it costs can be compared also when others work on the machine.
figures(_, {bulk, _, _}) -> [{rate, "", {more, "MB/s"}}, {cpu, "", {less, "us/MB"}}];
figures(_, long) -> [{count, "", {less, ""}}, {worst, ", worst", {less, "ms"}}];
figures(_, memory) ->
    [{{Side, What}, lists:concat([", ", Side, ", ", What]), {less, "bytes"}}
     || Side <- [client, server], What <- [rss, vm, driver]];
figures(_, _) -> [{rate, "", {more, "/s"}}].

calls() ->
    [{rate, "", {more, "/s"}}, {p50, "", {less, "us p50"}}, {p99, "", {less, "us p99"}}].
