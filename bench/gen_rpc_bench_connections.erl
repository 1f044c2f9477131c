%% SPDX-License-Identifier: Apache-2.0
%% Opening many connections from this node to another one, closing them, and what an idle one costs.
-module(gen_rpc_bench_connections).

-export([rate/3, memory/3, sizes/0]).

-type via() :: gen_rpc | ssl.
-type figures() :: #{{client | server, rss | vm | driver} => integer()}. % bytes

-define(PATIENCE, 30000).

%% How long a connection must have been idle to count as such, ms: it may give memory back.
-define(IDLE, 3000).

%% Connections a second when so many are wanted at once: from the first call to the last answer.
-spec rate(via(), node(), pos_integer()) -> float().
rate(Via, Server, Count) ->
    Left = counts(Via, Server),
    Begin = erlang:monotonic_time(microsecond),
    Opened = open(Via, Server, Count),
    Time = erlang:monotonic_time(microsecond) - Begin,
    ok = close(Via, Server, Opened, Left),
    Count * 1.0e6 / Time.

%% What one of so many idle connections costs on either side: resident memory of the OS process,
%% all that the VM has allocated, and what of that its drivers have.
-spec memory(via(), node(), pos_integer()) -> figures().
memory(Via, Server, Count) ->
    Left = counts(Via, Server),
    %% Some before, so that code is loaded and tables are made.
    ok = close(Via, Server, open(Via, Server, 20), Left),
    Before = both_sizes(Server),
    Opened = open(Via, Server, Count),
    timer:sleep(?IDLE),
    After = both_sizes(Server),
    ok = close(Via, Server, Opened, Left),
    maps:map(fun(Key, Size) -> (Size - maps:get(Key, Before)) div Count end, After).

both_sizes(Server) ->
    maps:from_list([{{client, What}, Size} || {What, Size} <- sizes()] ++
                       [{{server, What}, Size}
                        || {What, Size} <- erpc:call(Server, ?MODULE, sizes, [])]).

%% Without garbage.
-spec sizes() -> [{atom(), non_neg_integer()}].
sizes() ->
    lists:foreach(fun erlang:garbage_collect/1, processes()),
    [{rss, gen_rpc_bench_os:rss(os:getpid())},
     {vm, erlang:memory(total)},
     {driver, allocated(driver_alloc)}].

%% Each has answered once.
open(Via, Server, Count) ->
    Callers = [spawn_monitor(fun() -> exit({opened, open_one(Via, Server, N)}) end)
               || N <- lists:seq(1, Count)],
    [receive
         {'DOWN', Monitor, process, Pid, {opened, Connection}} -> Connection;
         {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
     end || {Pid, Monitor} <- Callers].

open_one(gen_rpc, Server, N) ->
    Dest = {Server, {?MODULE, N}},
    N = gen_rpc:call(Dest, gen_rpc_bench_target, echo, [N], ?PATIENCE),
    Dest;
open_one(ssl, _Server, N) ->
    Connection = gen_rpc_bench_ssl:open(),
    N = gen_rpc_bench_ssl:call(Connection, gen_rpc_bench_target, echo, [N], ?PATIENCE),
    Connection.

%% Closes them, and waits until the other side has noticed.
close(Via, Server, Opened, Left) ->
    lists:foreach(fun(Connection) -> ok = close_one(Via, Connection) end, Opened),
    wait_until_closed(Via, Server, Left, ?PATIENCE).

close_one(gen_rpc, Dest) ->
    {ok, Client} = gen_rpc_registry:client(Dest),
    supervisor:terminate_child(gen_rpc_client_sup, Client);
close_one(ssl, Connection) ->
    gen_rpc_bench_ssl:close(Connection).

%% Connections that are not closed yet, on either side.
counts(gen_rpc, Server) ->
    [proplists:get_value(active, Counts)
     || Counts <- [supervisor:count_children(gen_rpc_client_sup),
                   erpc:call(Server, supervisor, count_children, [gen_rpc_acceptor_sup])]];
counts(ssl, Server) ->
    [erpc:call(Server, gen_rpc_bench_ssl, served, [])].

wait_until_closed(Via, Server, Left, Time) ->
    case counts(Via, Server) of
        Left -> ok;
        Counts when Time =< 0 -> error({connections_left, Counts, Left});
        _ -> timer:sleep(10), wait_until_closed(Via, Server, Left, Time - 10)
    end.

allocated(Allocator) ->
    lists:sum([Size || {instance, _, Instance} <- erlang:system_info({allocator_sizes, Allocator}),
                       {Kind, Carriers} <- Instance,
                       Kind =:= mbcs orelse Kind =:= sbcs,
                       {blocks, Blocks} <- Carriers,
                       {_, Figures} <- Blocks,
                       {size, Size, _, _} <- Figures]).
