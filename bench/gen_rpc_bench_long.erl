%% SPDX-License-Identifier: Apache-2.0
%% What runs long in ports while nodes are under load, as the VM's own monitor sees it: its unit is
%% a millisecond, and time in which the scheduler's thread was not on a core counts. So there are
%% some wherever threads outnumber cores; erpc's beside them shows how many.
%% A port_control runs in the process that calls it, and its time is that process's. So processes
%% that own gen_rpc's connections, which write in this way, are counted too, apart from the ports:
%% what they do in Erlang is in that.
-module(gen_rpc_bench_long).

-export([run/4, load/4, begin_here/0, end_here/0]).

-type load() :: gen_rpc_bench_load:workload()
              | {beside, gen_rpc_bench_load:bulk()}
              | {connections, pos_integer()}.
-type figures() :: #{count := non_neg_integer(),  % ports, of both nodes
                     worst := non_neg_integer(),  % ms of one of these
                     owners := non_neg_integer()}. % processes that own connections
-export_type([load/0]).

%% Load from this node on another one, as long as it takes or for so many milliseconds.
-spec run(gen_rpc | erpc, node(), load(), Ms :: pos_integer()) -> figures().
run(Via, Server, Load, Ms) ->
    ok = begin_here(),
    ok = erpc:call(Server, ?MODULE, begin_here, []),
    _ = load(Via, Server, Load, Ms),
    Long = lists:append([end_here(), erpc:call(Server, ?MODULE, end_here, [])]),
    Ports = [Time || {port, Time} <- Long],
    #{count => length(Ports),
      worst => lists:max([0 | Ports]),
      owners => length(Long) - length(Ports)}.

-spec load(gen_rpc | erpc, node(), load(), Ms :: pos_integer()) -> term().
load(Via, Server, {connections, Count}, _Ms) ->
    gen_rpc_bench_connections:rate(Via, Server, Count);
load(Via, Server, {beside, Bulk}, Ms) ->
    gen_rpc_bench_fair:load(Via, Server, Bulk, Ms);
load(Via, Server, Load, Ms) ->
    gen_rpc_bench_load:run(Via, Server, Load, Ms).

-spec begin_here() -> ok.
begin_here() ->
    Collector = spawn(fun() -> collect([]) end),
    true = register(?MODULE, Collector),
    _ = erlang:system_monitor(Collector, [{long_schedule, 1}]),
    ok.

%% Milliseconds of each.
-spec end_here() -> [{port | owner, pos_integer()}].
end_here() ->
    _ = erlang:system_monitor(undefined),
    Monitor = monitor(process, ?MODULE),
    ?MODULE ! finish,
    receive {'DOWN', Monitor, process, _, {long, Long}} -> Long end.

collect(Long) ->
    receive
        {monitor, Port, long_schedule, Info} when is_port(Port) ->
            collect([{port, proplists:get_value(timeout, Info)} | Long]);
        {monitor, Process, long_schedule, Info} ->
            case is_owner(Process) of
                true -> collect([{owner, proplists:get_value(timeout, Info)} | Long]);
                false -> collect(Long)
            end;
        finish ->
            exit({long, Long})
    end.

is_owner(Process) ->
    lists:member(proc_lib:translate_initial_call(Process),
                 [{gen_rpc_client, init, 1}, {gen_rpc_acceptor, init, 1}]).
