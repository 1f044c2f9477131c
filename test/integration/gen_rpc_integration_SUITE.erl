%% SPDX-License-Identifier: Apache-2.0
%% Faults between real nodes, each in a network namespace of its own: what a user sees of each fault
%% by itself. Run by test/run_integration alone.
-module(gen_rpc_integration_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, groups/0, init_per_suite/1, end_per_suite/1, init_per_group/2,
         end_per_group/2, end_per_testcase/2]).
-export([server_killed/1, client_killed/1, server_frozen/1, client_frozen/1]).
-export([cable_out/1, cable_out_for_a_moment/1, link_down/1, client_deaf/1, client_mute/1,
         packets_lost_and_broken/1]).
-export([disk_full/1, no_descriptors_at_the_server/1, no_descriptors_at_the_client/1,
         no_ports_at_the_client/1, no_vm_ports_at_the_server/1, no_vm_ports_at_the_client/1]).
-export([no_memory_at_the_server/1, no_memory_at_the_client/1]).
-export([wire_delays_and_splits/1, wire_cuts_off/1, wire_resets/1, wire_changes_bytes/1]).

-import(gen_rpc_test_net, [block/3, unblock/3]).
-import(gen_rpc_test_site, [call/4, rpc/3, wait/1]).

%% A site's, not a pid's.
-compile({no_auto_import, [node/1]}).
-import(gen_rpc_test_site, [node/1]).

%% Longer than any test: a call with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(CLIENT, 1).
-define(SERVER, 2).

-define(CALLERS, 20).

%% How many calls see a fault that is there now and then.
-define(CALLS, 2000).

%% How many see a wire on which they take their time.
-define(SLOW_CALLS, 500).

%% Where a wire to the server begins.
-define(WIRE_PORT, 6000).

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [{group, nodes}, {group, network}, {group, resources}, {group, tcp}, {group, tls}].

groups() ->
    Either = [no_memory_at_the_server, no_memory_at_the_client, wire_delays_and_splits,
              wire_cuts_off, wire_resets, wire_changes_bytes],
    [{nodes, [], [server_killed, client_killed, server_frozen, client_frozen]},
     {network, [], [cable_out, cable_out_for_a_moment, link_down, client_deaf, client_mute,
                    packets_lost_and_broken]},
     {resources, [], [disk_full, no_descriptors_at_the_server, no_descriptors_at_the_client,
                      no_ports_at_the_client, no_vm_ports_at_the_server,
                      no_vm_ports_at_the_client]},
     {tcp, [], Either},
     {tls, [], Either}].

init_per_suite(Config) ->
    ok = gen_rpc_test_net:create(2),
    Dir = proplists:get_value(priv_dir, Config),
    Ca = gen_rpc_test_certs:new(filename:join(Dir, "certs")),
    Certs = maps:from_list([{I, gen_rpc_test_certs:options(
                                  gen_rpc_test_certs:node(Ca, gen_rpc_test_site:node_name(I)))}
                            || I <- [?CLIENT, ?SERVER]]),
    [{certs, Certs}, {alloc, gen_rpc_test_alloc:build(filename:join(Dir, "driver"))} | Config].

end_per_suite(_Config) ->
    gen_rpc_test_net:destroy(2).

init_per_group(tls, Config) -> [{driver, ssl} | Config];
init_per_group(_, Config) -> [{driver, tcp} | Config].

end_per_group(_, Config) ->
    Config.

end_per_testcase(_Case, Config) ->
    ok = gen_rpc_test_alloc:fail_one_in(proplists:get_value(alloc, Config), 0),
    gen_rpc_test_net:clear(2).

%%% Nodes that end or stop

%% A server is ended by its operating system. Those who wait hear at once that their calls may have
%% run, the next ones that there is no node, and when it is back it is found.
server_killed(Config) ->
    {Client, Server} = start(Config),
    Waiting = waiting_calls(Client, Server),
    ok = gen_rpc_test_site:kill(Server),
    [?assertMatch({badtcp, _}, Result) || Result <- gen_rpc_test_task:results(Waiting)],
    ?assertEqual({badrpc, nodedown}, rpc(Client, Server, ?LONG)),
    Again = gen_rpc_test_site:again(Server),
    recovered(Client, Again),
    stop([Client, Again]).

%% A client is ended by its operating system. The server drops its connection at once, and knows it
%% when it is back.
client_killed(Config) ->
    {Client, Server} = start(Config),
    _Lost = waiting_calls(Client, Server),
    ok = gen_rpc_test_site:kill(Client),
    no_connections(Server),
    Again = gen_rpc_test_site:again(Client),
    recovered(Again, Server),
    stop([Again, Server]).

%% A server stops for longer than the keepalive, and its kernel does not. Those who wait hear that
%% the connection is lost, and when the server goes on so do calls.
server_frozen(Config) ->
    {Client, Server} = start(Config),
    Waiting = waiting_calls(Client, Server),
    ok = gen_rpc_test_site:freeze(Server),
    [?assertEqual({badtcp, keepalive_timeout}, Result)
     || Result <- gen_rpc_test_task:results(Waiting)],
    ?assertMatch({badrpc, _}, rpc(Client, Server, 1000)),
    ok = gen_rpc_test_site:thaw(Server),
    recovered(Client, Server),
    stop([Client, Server]).

%% A client stops. The server gives it up; the client hears so when it goes on.
client_frozen(Config) ->
    {Client, Server} = start(Config),
    Waiting = waiting_calls(Client, Server),
    ok = gen_rpc_test_site:freeze(Client),
    no_connections(Server),
    ok = gen_rpc_test_site:thaw(Client),
    [?assertMatch({badtcp, _}, Result) || Result <- gen_rpc_test_task:results(Waiting)],
    recovered(Client, Server),
    stop([Client, Server]).

%%% A network that fails

%% The cable of the server is pulled out and put back.
cable_out(Config) ->
    cut_off(Config, fun() -> gen_rpc_test_net:unplug(?SERVER) end,
            fun() -> gen_rpc_test_net:plug(?SERVER) end).

%% The link of the client is set down and up again, and its routes are gone in between.
link_down(Config) ->
    cut_off(Config, fun() -> gen_rpc_test_net:link_down(?CLIENT) end,
            fun() -> gen_rpc_test_net:link_up(?CLIENT) end).

%% Nothing of what the server sends gets to the client.
client_deaf(Config) ->
    cut_off(Config, fun() -> block(deaf, ?CLIENT, ?SERVER) end,
            fun() -> unblock(deaf, ?CLIENT, ?SERVER) end).

%% Nothing of what the client sends gets to the server.
client_mute(Config) ->
    cut_off(Config, fun() -> block(mute, ?CLIENT, ?SERVER) end,
            fun() -> unblock(mute, ?CLIENT, ?SERVER) end).

%% Both sides find that the connection is lost, though no packet says so. New calls are told that
%% there is no node, and once there is a way again it is found.
cut_off(Config, Cut, Mend) ->
    {Client, Server} = start(Config),
    Waiting = waiting_calls(Client, Server),
    ok = Cut(),
    [?assertMatch({badtcp, _}, Result) || Result <- gen_rpc_test_task:results(Waiting)],
    no_connections(Server),
    ?assertMatch({badrpc, Reason} when Reason =:= nodedown; Reason =:= timeout,
                 rpc(Client, Server, ?LONG)),
    ok = Mend(),
    recovered(Client, Server),
    stop([Client, Server]).

%% A cable that is out for less than the keepalive ends nothing: calls take longer, that is all.
cable_out_for_a_moment(Config) ->
    {Client, Server} = start(Config, [{keepalive_interval, 10}], [{keepalive_interval, 10}]),
    Port = connection(Client, node(Server)),
    ok = gen_rpc_test_net:unplug(?SERVER),
    Tasks = gen_rpc_test_task:start(?CALLERS, fun(_) -> rpc(Client, Server, ?LONG) end),
    wait(fun() -> pending(Client, Server) =:= ?CALLERS end),
    ok = gen_rpc_test_net:plug(?SERVER),
    [?assertEqual(node(Server), Result) || Result <- gen_rpc_test_task:results(Tasks)],
    ?assertEqual(Port, connection(Client, node(Server))),
    stop([Client, Server]).

%% Packets that are lost, doubled, late and broken are TCP's business: calls are slower.
packets_lost_and_broken(Config) ->
    case gen_rpc_test_net:has_netem() of
        true ->
            {Client, Server} = start(Config, [{keepalive_interval, 20}],
                                     [{keepalive_interval, 20}]),
            ok = gen_rpc_test_net:impair(?SERVER,
                                         "loss 2% corrupt 1% duplicate 1% delay 2ms 2ms"),
            Told = told(Client, Server),
            ok = gen_rpc_test_net:repair(?SERVER),
            ?assertEqual([value], maps:keys(Told)),
            stop([Client, Server]);
        false ->
            {skip, "this kernel has no netem; the wires of the groups tcp and tls stand in for it"}
    end.

%%% Nodes that have run out of something

%% The disks for the logs of both are full, and both have much to log. Calls go on.
disk_full(Config) ->
    {Client, Server} = start(Config),
    Sites = [Client, Server],
    [ok = call(Site, gen_rpc_test_faults, fill_disk, []) || Site <- Sites],
    [ok = call(Site, gen_rpc_log, error, [#{what => "test", number => N}])
     || Site <- Sites, N <- lists:seq(1, 40)],
    ?assertEqual(#{value => ?CALLS}, told(Client, Server)),
    [ok = call(Site, gen_rpc_test_faults, free_disk, []) || Site <- Sites],
    recovered(Client, Server),
    stop(Sites).

%% A server without descriptors: those who are connected go on, others wait or are told that there
%% is no node. It says so once, and when there are descriptors again it accepts.
no_descriptors_at_the_server(Config) ->
    exhausted_server(Config, descriptors, []).

%% The same of a server whose VM has no ports.
no_vm_ports_at_the_server(Config) ->
    exhausted_server(Config, vm_ports, few_ports()).

exhausted_server(Config, What, Options) ->
    {Client, Server} = start(Config, [], Options),
    Node = node(Server),
    Taker = call(Server, gen_rpc_test_faults, take_all, [What]),
    ?assertEqual(#{value => ?CALLS}, told(Client, Server)),
    [?assertMatch({badrpc, _}, call(Client, gen_rpc, call, [{Node, Key}, erlang, node, [], 1000]))
     || Key <- [a, b, c]],
    ?assertMatch([_], lines(Server, "cannot accept for the moment")),
    ?assertEqual(#{value => ?CALLS}, told(Client, Server)),
    ok = call(Server, gen_rpc_test_faults, give_back, [Taker]),
    wait(fun() -> call(Client, gen_rpc, call, [{Node, a}, erlang, node, [], 5000]) =:= Node end),
    stop([Client, Server]).

%% A client without descriptors: what is connected goes on, a new connection is no node, and the log
%% says why.
no_descriptors_at_the_client(Config) ->
    exhausted_client(Config, [], fun(Client) -> take_at_client(Client, descriptors) end, emfile).

%% The same of one whose VM has no ports.
no_vm_ports_at_the_client(Config) ->
    exhausted_client(Config, few_ports(), fun(Client) -> take_at_client(Client, vm_ports) end,
                     system_limit).

take_at_client(Client, What) ->
    Taker = call(Client, gen_rpc_test_faults, take_all, [What]),
    fun() -> call(Client, gen_rpc_test_faults, give_back, [Taker]) end.

%% The same of one whose kernel has no port for another outgoing connection.
no_ports_at_the_client(Config) ->
    exhausted_client(Config, [], fun gen_rpc_test_faults:take_outgoing_ports/1, eaddrnotavail).

exhausted_client(Config, Options, Take, Reason) ->
    {Client, Server} = start(Config, Options, []),
    Node = node(Server),
    GiveBack = Take(Client),
    ?assertEqual(#{value => ?CALLS}, told(Client, Server)),
    ?assertEqual({badrpc, nodedown},
                 call(Client, gen_rpc, call, [{Node, key}, erlang, node, []])),
    ?assertMatch([#{reason := Reason, node := Node}], lines(Client, "cannot connect")),
    ?assertEqual(#{value => ?CALLS}, told(Client, Server)),
    ok = GiveBack(),
    wait(fun() -> call(Client, gen_rpc, call, [{Node, key}, erlang, node, []]) =:= Node end),
    stop([Client, Server]).

%% The least that a VM can be started with.
few_ports() ->
    [{args, ["+Q", "1024"]}].

%%% A driver without memory

%% One allocation in some hundreds fails in the driver of the server: that costs connections, and
%% calls on these, and nothing else.
no_memory_at_the_server(Config) ->
    no_memory(Config, [], alloc_options(Config)).

%% The same at the client.
no_memory_at_the_client(Config) ->
    no_memory(Config, alloc_options(Config), []).

alloc_options(Config) ->
    gen_rpc_test_alloc:options(proplists:get_value(alloc, Config)).

no_memory(Config, ClientOptions, ServerOptions) ->
    {Client, Server} = start(Config, ClientOptions, ServerOptions),
    Alloc = proplists:get_value(alloc, Config),
    [begin
         ok = gen_rpc_test_alloc:fail_one_in(Alloc, OneIn),
         ok = call_until_it_fails(Client, Server, Alloc, gen_rpc_test_alloc:failed(Alloc)),
         ok = gen_rpc_test_alloc:fail_one_in(Alloc, 0),
         recovered(Client, Server)
     end || OneIn <- [500, 50, 5]],
    stop([Client, Server]).

call_until_it_fails(Client, Server, Alloc, Before) ->
    Told = told(Client, Server),
    ?assertEqual([], maps:keys(Told) -- [value, badtcp, nodedown]),
    case gen_rpc_test_alloc:failed(Alloc) of
        Before -> call_until_it_fails(Client, Server, Alloc, Before);
        _ -> ok
    end.

%%% A bad wire

%% What comes late, and in the smallest of pieces, is put together again.
wire_delays_and_splits(Config) ->
    {Client, Server, Wire} = start_with_wire(Config),
    ok = gen_rpc_test_wire:set(Wire, #{delay => 3, split => true}),
    ?assertEqual([value], maps:keys(told(Client, Server, ?SLOW_CALLS))),
    stop_with_wire(Client, Server, Wire).

%% Connections end anywhere in the middle of a message: each call on them hears of it.
wire_cuts_off(Config) ->
    broken_wire(Config, #{cut => 50}).

wire_resets(Config) ->
    broken_wire(Config, #{reset => 50}).

broken_wire(Config, Mode) ->
    {Client, Server, Wire} = start_with_wire(Config),
    ok = gen_rpc_test_wire:set(Wire, Mode),
    Told = told(Client, Server),
    ?assertMatch(#{value := _, badtcp := _}, Told),
    ?assertEqual([], maps:keys(Told) -- [value, badtcp, nodedown]),
    ok = gen_rpc_test_wire:set(Wire, #{}),
    recovered(Client, Server),
    stop_with_wire(Client, Server, Wire).

%% Bits are changed. TLS finds it, and then a connection ends. Plain TCP is told nothing, and has no
%% sums of its own: there neither node may suffer, but what a call returns is nobody's promise.
wire_changes_bytes(Config) ->
    {Client, Server, Wire} = start_with_wire(Config),
    ok = gen_rpc_test_wire:set(Wire, #{corrupt => 20}),
    Told = told(Client, Server, ?SLOW_CALLS),
    case proplists:get_value(driver, Config) of
        ssl ->
            ?assertMatch(#{value := _, badtcp := _}, Told),
            ?assertEqual([], maps:keys(Told) -- [value, badtcp, nodedown]);
        tcp ->
            ?assertMatch(#{value := _}, Told)
    end,
    ok = gen_rpc_test_wire:set(Wire, #{}),
    recovered(Client, Server),
    stop_with_wire(Client, Server, Wire).

start_with_wire(Config) ->
    Port = gen_rpc_test_site:port(proplists:get_value(driver, Config)),
    Wire = gen_rpc_test_wire:start(?SERVER, ?WIRE_PORT, Port),
    {Client, Server} = start([{port, ?WIRE_PORT} | Config]),
    {Client, Server, Wire}.

stop_with_wire(Client, Server, Wire) ->
    ok = stop([Client, Server]),
    gen_rpc_test_wire:stop(Wire).

%%% Helpers

start(Config) ->
    start(Config, [], []).

%% A client and a server that are connected.
start(Config, ClientOptions, ServerOptions) ->
    Driver = proplists:get_value(driver, Config),
    Port = proplists:get_value(port, Config, gen_rpc_test_site:port(Driver)),
    Ways = #{gen_rpc_test_site:node_name(?SERVER) => {Driver, Port}},
    Options = #{?CLIENT => [{client_config_per_node, {internal, Ways}} | ClientOptions],
                ?SERVER => ServerOptions},
    [Client, Server] =
        gen_rpc_test_task:results(
          gen_rpc_test_task:start(2, fun(I) ->
                                             gen_rpc_test_site:start(I, maps:get(I, Options)
                                                                     ++ tls(I, Config))
                                     end)),
    ?assertEqual(node(Server), rpc(Client, Server, ?LONG)),
    {Client, Server}.

tls(I, Config) ->
    #{I := Cert} = proplists:get_value(certs, Config),
    [{ssl_server_port, gen_rpc_test_site:port(ssl)}, {ssl_server_options, Cert},
     {ssl_client_options, Cert}].

%% Nothing is left on them, and nothing has crashed.
stop(Sites) ->
    [ok = call(Site, gen_rpc_test_ledger, wake, []) || Site <- Sites],
    Left = lists:append([gen_rpc_test_site:left(Site) || Site <- Sites]),
    lists:foreach(fun gen_rpc_test_site:stop/1, Sites),
    ?assertEqual([], Left).

%% Calls that do not end by themselves, all of them at work on the server.
waiting_calls(Client, Server) ->
    Node = node(Server),
    Served = served(Server),
    Tasks = gen_rpc_test_task:start(
              ?CALLERS, fun(_) ->
                                call(Client, gen_rpc, call,
                                     [Node, gen_rpc_test_ledger, linger, [], ?LONG])
                        end),
    wait(fun() -> served(Server) =:= Served + ?CALLERS end),
    Tasks.

served(#{at := At}) ->
    lists:sum([Served || #{served := Served} <- gen_rpc_test_node:acceptors(At)]).

no_connections(#{at := At}) ->
    wait(fun() -> gen_rpc_test_node:acceptors(At) =:= [] end).

recovered(Client, Server) ->
    wait(fun() -> rpc(Client, Server, 5000) =:= node(Server) end).

connection(Client, Dest) ->
    {ok, Port} = call(Client, gen_rpc_registry, lookup, [Dest]),
    Port.

pending(#{at := At}, Server) ->
    maps:get(calls, gen_rpc_test_node:connection(At, node(Server))).

lines(#{at := At}, What) ->
    gen_rpc_test_pair:lines(At, What).

%% What many calls from the one to the other were told, and how often. None is told twice, and those
%% of which somebody else has the result are `wrong_value'.
told(Client, Server) ->
    told(Client, Server, ?CALLS).

told(Client, Server, Calls) ->
    call(Client, gen_rpc_test_ledger, calls, [node(Server), ?CALLERS, Calls div ?CALLERS]).
