%% SPDX-License-Identifier: Apache-2.0
%% Opening many connections from this node to another one, closing them, and what an idle one costs.
-module(gen_rpc_bench_connections).

-export([rate/2, memory/2, sizes/0]).

-type sizes() :: #{rss := integer(),    % bytes, of the OS process
                   vm := integer(),     % all that the VM has allocated
                   driver := integer()}. % of that, by drivers

-define(PATIENCE, 30000).

%% How long a connection must have been idle to count as such, ms: it may give memory back.
-define(IDLE, 3000).

%% Connections a second when so many are wanted at once: from the first call to the last answer.
-spec rate(node(), pos_integer()) -> float().
rate(Server, Count) ->
    Begin = erlang:monotonic_time(microsecond),
    ok = open(Server, Count),
    Time = erlang:monotonic_time(microsecond) - Begin,
    ok = close(Server),
    Count * 1.0e6 / Time.

%% What one of so many idle connections costs on either side.
-spec memory(node(), pos_integer()) -> #{client := sizes(), server := sizes()}.
memory(Server, Count) ->
    %% Some before, so that code is loaded and tables are made.
    ok = open(Server, 20),
    ok = close(Server),
    Before = sizes(Server),
    ok = open(Server, Count),
    timer:sleep(?IDLE),
    After = sizes(Server),
    ok = close(Server),
    maps:map(fun(Side, Sizes) ->
                     maps:map(fun(What, Size) ->
                                      (Size - maps:get(What, maps:get(Side, Before))) div Count
                              end, Sizes)
             end, After).

sizes(Server) ->
    #{client => sizes(), server => erpc:call(Server, ?MODULE, sizes, [])}.

%% Without garbage.
-spec sizes() -> sizes().
sizes() ->
    lists:foreach(fun erlang:garbage_collect/1, processes()),
    #{rss => gen_rpc_bench_os:rss(os:getpid()),
      vm => erlang:memory(total),
      driver => allocated(driver_alloc)}.

%% Each connection is for a key of its own and has answered once.
open(Server, Count) ->
    Callers = [spawn_monitor(fun() -> exit({answer, echo({Server, {?MODULE, N}}, N)}) end)
               || N <- lists:seq(1, Count)],
    lists:foreach(fun({{Pid, Monitor}, N}) ->
                          receive
                              {'DOWN', Monitor, process, Pid, {answer, N}} -> ok;
                              {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
                          end
                  end, lists:zip(Callers, lists:seq(1, Count))).

echo(Dest, N) ->
    gen_rpc:call(Dest, gen_rpc_bench_target, echo, [N], ?PATIENCE).

%% Closes all connections, and waits until the other side has noticed.
close(Server) ->
    lists:foreach(fun({_Dest, Client}) ->
                          _ = supervisor:terminate_child(gen_rpc_client_sup, Client)
                  end, gen_rpc_registry:clients()),
    wait_until_closed(Server, ?PATIENCE).

wait_until_closed(Server, Left) ->
    Counts = [supervisor:count_children(gen_rpc_client_sup),
              erpc:call(Server, supervisor, count_children, [gen_rpc_acceptor_sup])],
    case [Active || Count <- Counts, (Active = proplists:get_value(active, Count)) > 0] of
        [] -> ok;
        Open when Left =< 0 -> error({connections_left, Open});
        _ -> timer:sleep(10), wait_until_closed(Server, Left - 10)
    end.

allocated(Allocator) ->
    lists:sum([Size || {instance, _, Instance} <- erlang:system_info({allocator_sizes, Allocator}),
                       {Kind, Carriers} <- Instance,
                       Kind =:= mbcs orelse Kind =:= sbcs,
                       {blocks, Blocks} <- Carriers,
                       {_, Figures} <- Blocks,
                       {size, Size, _, _} <- Figures]).
