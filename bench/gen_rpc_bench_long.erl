%% SPDX-License-Identifier: Apache-2.0
%% What runs long in ports while nodes are under load, as the VM's own monitor sees it: its unit is a
%% millisecond, and time in which the scheduler's thread was not on a core counts.
-module(gen_rpc_bench_long).

-export([run/2, begin_here/0, end_here/0]).

-define(BULK, 20000000).
-define(CONNECTIONS, 20).

%% Calls, bulk data and new connections from this node to another one, each for so many milliseconds:
%% how often a port ran for more than a millisecond, on both, and how long at most.
-spec run(node(), Ms :: pos_integer()) -> #{count := non_neg_integer(), worst := non_neg_integer()}.
run(Server, Ms) ->
    ok = begin_here(),
    ok = erpc:call(Server, ?MODULE, begin_here, []),
    [_ = gen_rpc_bench_load:run(gen_rpc, Server, Load, Ms)
     || Load <- [{calls, 256}, {bulk, 1, ?BULK}]],
    _ = gen_rpc_bench_connections:rate(gen_rpc, Server, ?CONNECTIONS),
    Times = lists:append([end_here(), erpc:call(Server, ?MODULE, end_here, [])]),
    #{count => length(Times), worst => lists:max([0 | Times])}.

-spec begin_here() -> ok.
begin_here() ->
    Collector = spawn(fun() -> collect([]) end),
    true = register(?MODULE, Collector),
    _ = erlang:system_monitor(Collector, [{long_schedule, 1}]),
    ok.

%% Milliseconds of each.
-spec end_here() -> [pos_integer()].
end_here() ->
    _ = erlang:system_monitor(undefined),
    Monitor = monitor(process, ?MODULE),
    ?MODULE ! finish,
    receive {'DOWN', Monitor, process, _, {times, Times}} -> Times end.

collect(Times) ->
    receive
        {monitor, Port, long_schedule, Info} when is_port(Port) ->
            collect([proplists:get_value(timeout, Info) | Times]);
        {monitor, _Process, long_schedule, _Info} ->
            collect(Times);
        finish ->
            exit({times, Times})
    end.
