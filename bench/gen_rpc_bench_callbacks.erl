%% SPDX-License-Identifier: Apache-2.0
%% CPU time of the driver's callbacks under load, with the driver of callback_times.c. Unlike what
%% gen_rpc_bench_long counts it is not longer because a thread had to wait for a core.
-module(gen_rpc_bench_callbacks).

-export([run/3, take_here/0, figures/1]).

-type figures() :: #{count | over_400 | over_700 | over_1000 := non_neg_integer(), % us
                     longest := float()}. % us
-export_type([figures/0]).

-define(TAKE, 255). % CMD_TAKE

%% Load from this node on another one, as long as it takes or for so many milliseconds. Figures of
%% both.
-spec run(node(), gen_rpc_bench_long:load(), Ms :: pos_integer()) -> figures().
run(Server, Load, Ms) ->
    _ = take(Server),
    _ = gen_rpc_bench_long:load(gen_rpc, Server, Load, Ms),
    take(Server).

take(Server) ->
    #{longest := Here} = Ours = take_here(),
    #{longest := There} = Theirs = erpc:call(Server, ?MODULE, take_here, []),
    Sum = maps:map(fun(Key, N) -> N + maps:get(Key, Theirs) end, Ours),
    Sum#{longest := max(Here, There)}.

%% Since the last time.
-spec take_here() -> figures().
take_here() ->
    Port = gen_rpc_port:open(),
    <<Count:32, Longest:32, Over/binary>> = list_to_binary(port_control(Port, ?TAKE, [])),
    ok = gen_rpc_port:close(Port),
    figures([Count, Longest / 1000 | [N || <<N:32>> <= Over]]).

%% Of what cpu_times.h counts, in its order.
-spec figures([number()]) -> figures().
figures([Count, Longest | Over]) ->
    [Over400, Over700, Over1000] = [round(N) || N <- Over],
    #{count => round(Count), longest => Longest, over_400 => Over400, over_700 => Over700,
      over_1000 => Over1000}.
