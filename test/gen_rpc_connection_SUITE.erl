%% SPDX-License-Identifier: Apache-2.0
%% How connections are made, refused and counted. What ends them is in gen_rpc_loss_SUITE, strangers
%% are in gen_rpc_stranger_SUITE.
-module(gen_rpc_connection_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([nobody_listens/1, host_unknown/1, name_without_host/1,
         silent_listener/1, full_backlog/1, route_into_nothing/1,
         own_limit_is_shorter/1, black_hole_delays_nobody_else/1,
         wrong_cookie/1, cookie_changes/1, secret_cookie/1, wrong_node/1,
         both_connect_at_once/1, many_keys_at_once/1, longest_backlog/1,
         idle_ones_keep_no_buffers/1, max_connections/1, nodes_lists_what_is_up/1,
         keepalive_on_both_sides/1, thousand_connections/1]).

-import(gen_rpc_test_node, [call/4, rpc/4, run/2, wait/1]).
-import(gen_rpc_test_pair, [lines/2, lines/3]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, unreachable}, {group, black_hole}, {group, identity}, {group, many}].

groups() ->
    [{unreachable, [], [nobody_listens, host_unknown, name_without_host]},
     {black_hole, [], [silent_listener, full_backlog, route_into_nothing, own_limit_is_shorter,
                       black_hole_delays_nobody_else]},
     {identity, [], [wrong_cookie, cookie_changes, secret_cookie, wrong_node]},
     {many, [], [both_connect_at_once, many_keys_at_once, longest_backlog,
                 idle_ones_keep_no_buffers, max_connections, nodes_lists_what_is_up,
                 keepalive_on_both_sides, thousand_connections]}].

init_per_suite(Config) ->
    [{pair, gen_rpc_test_pair:start()} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(proplists:get_value(pair, Config)).

init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(proplists:get_value(pair, Config)).

restart(Config, ClientSettings, ServerSettings) ->
    gen_rpc_test_pair:restart(proplists:get_value(pair, Config), ClientSettings, ServerSettings).

%%% Unreachable: {badrpc, nodedown} and one line that says why

%% A port that nobody listens on refuses at once.
nobody_listens(Config) ->
    {Client, _} = restart(Config, [way('nobody@127.0.0.1', gen_rpc_test_node:free_port())], []),
    ?assertEqual({badrpc, nodedown}, echo(Client, 'nobody@127.0.0.1', ?LONG)),
    ?assertMatch([#{node := 'nobody@127.0.0.1', reason := econnrefused}],
                 lines(Client, "cannot connect")),
    ?assertEqual(true, call(Client, gen_rpc, cast, ['nobody@127.0.0.1', erlang, node, []])),
    ?assertMatch([#{reason := nodedown}], lines(Client, "cast dropped")).

%% A host that has no address is as good as down. The resolver is told to ask nobody outside.
host_unknown(Config) ->
    {Client, _} = restart(Config, [], []),
    Lookup = call(Client, inet_db, res_option, [lookup]),
    ok = call(Client, inet_db, set_lookup, [[file]]),
    ?assertEqual({badrpc, nodedown}, echo(Client, 'a@no.such.host', ?LONG)),
    ok = call(Client, inet_db, set_lookup, [Lookup]),
    ?assertMatch([#{node := 'a@no.such.host', reason := nxdomain}],
                 lines(Client, "cannot connect")).

%% A name without a host can't be reached, and is no reason to crash.
name_without_host(Config) ->
    {Client, _} = restart(Config, [], []),
    Names = [nohost, 'nohost@', '@', '', '@127.0.0.1'],
    [?assertEqual({Name, {badrpc, nodedown}}, {Name, echo(Client, Name, ?LONG)}) || Name <- Names],
    ?assertEqual([{Name, no_host_in_node_name} || Name <- Names],
                 [{Node, Reason} || #{node := Node, reason := Reason}
                                        <- lines(Client, "cannot connect")]),
    ?assertEqual(0, registered(Client)).

%%% Black holes: something that takes our bytes, or not even these, and never answers

%% A peer that accepts and says nothing is given up after authentication_timeout.
silent_listener(Config) ->
    {Hole, Port} = gen_rpc_test_hole:silent(),
    {Client, _} = restart(Config, [way('hole@127.0.0.1', Port), {authentication_timeout, 300},
                                   {connect_timeout, ?LONG}], []),
    ?assertEqual({badrpc, nodedown}, echo(Client, 'hole@127.0.0.1', ?LONG)),
    ?assertMatch([#{reason := authentication_timeout}], lines(Client, "cannot connect")),
    ok = gen_rpc_test_hole:close(Hole).

%% A peer whose kernel does not even answer is given up after connect_timeout.
full_backlog(Config) ->
    {Hole, Port} = gen_rpc_test_hole:deep(),
    {Client, _} = restart(Config, [way('hole@127.0.0.1', Port), {connect_timeout, 300},
                                   {authentication_timeout, ?LONG}], []),
    ?assertEqual({badrpc, nodedown}, echo(Client, 'hole@127.0.0.1', ?LONG)),
    ?assertMatch([#{reason := connect_timeout}], lines(Client, "cannot connect")),
    ok = gen_rpc_test_hole:close(Hole).

%% The same for packets that vanish on the way, in a network namespace that has nothing but lo.
route_into_nothing(_Config) ->
    case os:cmd("unshare -n true") of
        [] -> from_namespace();
        Error -> {skip, "no network namespace: " ++ Error}
    end.

from_namespace() ->
    %% The namespace ends with the node, its only process.
    Erl = {os:find_executable("unshare"),
           ["-n", "sh", "-c", "ip link set lo up && ip route add 10.99.0.0/24 dev lo && exec \"$@\"",
            "sh", os:find_executable("erl")]},
    Node = gen_rpc_test_node:start([{exec, Erl}, {args, ["-dist_listen", "false",
                                                        "-start_epmd", "false"]},
                                    {connect_timeout, 300}, {tcp_server_port, false}]),
    ?assertEqual({badrpc, nodedown}, echo(Node, 'hole@10.99.0.2', ?LONG)),
    ?assertEqual({badrpc, timeout}, echo(Node, 'hole@10.99.0.3', 50)),
    ok = gen_rpc_test_node:stop(Node).

%% A caller's own time limit holds while its connection is being made, and nothing is left in its
%% mailbox; a cast is dropped after its send timeout.
own_limit_is_shorter(Config) ->
    {Hole, Port} = gen_rpc_test_hole:silent(),
    {Client, _} = restart(Config, [way('hole@127.0.0.1', Port), {authentication_timeout, 1000},
                                   {reconnect_backoff_max, 0}], []),
    ?assertEqual({{badrpc, timeout}, []},
                 run(Client, fun() ->
                                     Result = gen_rpc:call('hole@127.0.0.1', erlang, node, [], 100),
                                     %% The attempt ends in the meantime: its result is for nobody.
                                     wait(fun() -> ets:info(gen_rpc_registry, size) =:= 0 end),
                                     {Result, element(2, process_info(self(), messages))}
                             end)),
    ?assertEqual(true, call(Client, gen_rpc, cast, ['hole@127.0.0.1', erlang, node, [], 100])),
    ?assertMatch([#{reason := timeout}], lines(Client, "cast dropped")),
    ok = gen_rpc_test_hole:close(Hole).

%% While twenty callers wait for a black hole, calls to another node go on, also first ones that
%% need new connections, and the dispatcher answers.
black_hole_delays_nobody_else(Config) ->
    {Hole, Port} = gen_rpc_test_hole:deep(),
    {_, #{node := Node, port := ServerPort}} = restart(Config, [], []),
    {Client, _} = restart(Config, [ways([{'hole@127.0.0.1', Port}, {Node, ServerPort}]),
                                   {connect_timeout, ?LONG}], [{tcp_server_port, ServerPort}]),
    Waiting = gen_rpc_test_task:start(
                20, fun(I) -> echo(Client, {'hole@127.0.0.1', I rem 5}, ?LONG) end),
    wait(fun() -> registered(Client) =:= 5 end),
    [?assertEqual(Node, echo(Client, {Node, Key}, 10000)) || Key <- lists:seq(1, 20)],
    [?assertEqual(Node, echo(Client, {Node, Key}, 10000)) || Key <- lists:seq(1, 20)],
    ?assertEqual({error, unknown_call},
                 call(Client, gen_server, call, [gen_rpc_dispatcher, hello])),
    ?assertEqual(20, length([T || T <- Waiting, gen_rpc_test_task:is_running(T)])),
    %% Only the end of the attempt ends their wait.
    ok = gen_rpc_test_hole:close(Hole),
    ok = gen_rpc_test_node:stop_app(Client),
    [?assertMatch({badrpc, nodedown}, Result) || Result <- gen_rpc_test_task:results(Waiting)].

%%% Identity: the cookie, and the name of the node that was meant

%% Without the cookie there is no connection: both sides say so in one line, and never the cookie.
wrong_cookie(Config) ->
    {Client, Server} = restart(Config, [{secret_cookie, "mine and long"}, {reconnect_backoff_max, 0}],
                               [{secret_cookie, "other and long"}]),
    ?assertEqual({badrpc, invalid_cookie}, rpc(Client, Server, {erlang, node}, [])),
    ?assertMatch([#{reason := invalid_cookie}], lines(Client, "cannot connect")),
    ?assertMatch([#{reason := invalid_cookie}], lines(Server, "peer refused", 1)),
    [?assertEqual(nomatch, string:find(gen_rpc_test_events:text(Node), "and long"))
     || Node <- [Client, Server]],
    ?assertEqual([], call(Client, gen_rpc, nodes, [])),
    ?assertEqual([], gen_rpc_test_node:acceptors(Server)).

%% The node's cookie counts at the moment of connecting; what is connected stays so.
cookie_changes(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    Cookie = call(Server, erlang, get_cookie, []),
    ?assertEqual(Node, echo(Client, {Node, before}, ?LONG)),
    true = call(Server, erlang, set_cookie, [changed]),
    ?assertEqual({badrpc, invalid_cookie}, echo(Client, {Node, new}, ?LONG)),
    ?assertEqual(Node, echo(Client, {Node, before}, ?LONG)),
    true = call(Client, erlang, set_cookie, [changed]),
    wait(fun() -> echo(Client, {Node, new}, ?LONG) =:= Node end),
    [true = call(N, erlang, set_cookie, [Cookie]) || N <- [Client, Server]].

%% secret_cookie takes the place of the node's cookie, as an atom, a string or a binary.
secret_cookie(Config) ->
    Forms = [secret, "secret", <<"secret">>],
    [begin
         {Client, #{node := Node} = Server} =
             restart(Config, [{secret_cookie, Mine}], [{secret_cookie, Other}]),
         ?assertEqual(Node, rpc(Client, Server, {erlang, node}, []))
     end || Mine <- Forms, Other <- Forms],
    {Client, Server} = restart(Config, [{secret_cookie, secret}], []),
    ?assertEqual({badrpc, invalid_cookie}, rpc(Client, Server, {erlang, node}, [])).

%% A node that is reached under another's name is not spoken to.
wrong_node(Config) ->
    {_, #{port := Port}} = restart(Config, [], []),
    {Client, Server} = restart(Config,
                               [way('other@127.0.0.1', Port), {reconnect_backoff_max, 0}],
                               [{tcp_server_port, Port}]),
    ?assertEqual({badrpc, nodedown}, echo(Client, 'other@127.0.0.1', ?LONG)),
    ?assertMatch([#{reason := wrong_node}], lines(Client, "cannot connect")),
    ?assertMatch([#{reason := wrong_node}], lines(Server, "peer refused", 1)).

%%% Many

%% Two nodes that connect to each other at the same moment get a connection each way.
both_connect_at_once(Config) ->
    {A0, B0} = proplists:get_value(pair, Config),
    {PortA, PortB} = {gen_rpc_test_node:free_port(), gen_rpc_test_node:free_port()},
    A = #{node := NodeA} = A0#{port := PortA},
    B = #{node := NodeB} = B0#{port := PortB},
    [gen_rpc_test_node:restart_app(N, [gen_rpc_test_node:env([A, B]), {tcp_server_port, Port}])
     || {N, Port} <- [{A, PortA}, {B, PortB}]],
    FromA = gen_rpc_test_task:start(fun() -> run(A, fun() -> echo_keys(NodeB, 50) end) end),
    FromB = gen_rpc_test_task:start(fun() -> run(B, fun() -> echo_keys(NodeA, 50) end) end),
    ?assertEqual([NodeB], lists:usort(gen_rpc_test_task:result(FromA))),
    ?assertEqual([NodeA], lists:usort(gen_rpc_test_task:result(FromB))),
    ?assertEqual({50, 50}, {registered(A), registered(B)}),
    ?assertEqual({50, 50}, {length(gen_rpc_test_node:acceptors(A)),
                            length(gen_rpc_test_node:acceptors(B))}).

%% Two hundred connections to one node at once all succeed, and each key has its own.
many_keys_at_once(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ?assertEqual(lists:duplicate(200, Node), run(Client, fun() -> echo_keys(Node, 200) end)),
    ?assertEqual(200, length(gen_rpc_test_node:acceptors(Server))).

%% The listening socket has the longest backlog that the system allows.
longest_backlog(Config) ->
    case os:find_executable("ss") of
        false ->
            {skip, "no ss"};
        _ ->
            {_, #{port := Port}} = restart(Config, [], []),
            {ok, Max} = file:read_file("/proc/sys/net/core/somaxconn"),
            Line = os:cmd("ss -ltnH 'sport = :" ++ integer_to_list(Port) ++ "'"),
            ["LISTEN", "0", Backlog | _] = string:lexemes(Line, " "),
            ?assertEqual(string:trim(binary_to_list(Max)), Backlog)
    end.

%% A connection that nobody uses gives its buffers back, on both sides.
idle_ones_keep_no_buffers(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    Memory = fun() -> [gen_rpc_test_node:driver_memory(N) || N <- [Client, Server]] end,
    Before = Memory(),
    Each = fun() -> [(Now - B) div 100 || {Now, B} <- lists:zip(Memory(), Before)] end,
    ?assertEqual(lists:duplicate(100, Node), run(Client, fun() -> echo_keys(Node, 100) end)),
    ?assert(lists:all(fun(Bytes) -> Bytes > 10000 end, Each()), Each()),
    %% 4 kB of the smallest buffer would be seen.
    wait(fun() -> lists:all(fun(Bytes) -> Bytes < 6000 end, Each()) end).

%% Beyond max_connections a new one is refused and logged, the others go on, and a place that
%% becomes free can be taken again.
max_connections(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{reconnect_backoff_max, 0}],
                                                 [{max_connections, 3}]),
    [?assertEqual(Node, echo(Client, {Node, Key}, ?LONG)) || Key <- [1, 2, 3]],
    ?assertEqual({badrpc, nodedown}, echo(Client, {Node, 4}, ?LONG)),
    ?assertMatch([#{reason := max_connections, count := 1}],
                 lines(Server, "connections refused", 1)),
    [?assertEqual(Node, echo(Client, {Node, Key}, ?LONG)) || Key <- [1, 2, 3]],
    ok = run(Client, fun() ->
                             {ok, Owner} = gen_rpc_registry:client({Node, 1}),
                             supervisor:terminate_child(gen_rpc_client_sup, Owner)
                     end),
    wait(fun() -> length(gen_rpc_test_node:acceptors(Server)) =:= 2 end),
    ?assertEqual(Node, echo(Client, {Node, 4}, ?LONG)),
    ?assertEqual({badrpc, nodedown}, echo(Client, {Node, 1}, ?LONG)).

%% nodes/0 has each authenticated peer once, whatever the number of its keys, and nothing that is
%% still connecting, was refused, or is gone.
nodes_lists_what_is_up(Config) ->
    {Hole, HolePort} = gen_rpc_test_hole:silent(),
    {_, #{node := Node, port := Port}} = restart(Config, [], []),
    {Client, Server} =
        restart(Config, [ways([{'hole@127.0.0.1', HolePort}, {'other@127.0.0.1', Port},
                               {Node, Port}]), {reconnect_backoff_max, 0}],
                [{tcp_server_port, Port}]),
    Nodes = fun() -> call(Client, gen_rpc, nodes, []) end,
    ?assertEqual([], Nodes()),
    Waiting = gen_rpc_test_task:start(fun() -> echo(Client, 'hole@127.0.0.1', ?LONG) end),
    {badrpc, nodedown} = echo(Client, 'other@127.0.0.1', ?LONG),
    wait(fun() -> registered(Client) =:= 1 end),
    ?assertEqual([], Nodes()),
    [Node = echo(Client, Dest, ?LONG) || Dest <- [Node, {Node, a}, {Node, b}]],
    ?assertEqual([Node], Nodes()),
    ?assertEqual([], call(Server, gen_rpc, nodes, [])), % incoming ones don't count
    ok = gen_rpc_test_node:stop_app(Server),
    wait(fun() -> Nodes() =:= [] end),
    ok = gen_rpc_test_node:stop_app(Client),
    ?assertEqual([], Nodes()),
    {badrpc, nodedown} = gen_rpc_test_task:result(Waiting),
    ok = gen_rpc_test_hole:close(Hole).

%% The kernel looks after each connection from both ends, each with its own node's settings.
keepalive_on_both_sides(Config) ->
    Keepalive = fun(Idle, Interval, Count) ->
                        [{socket_keepalive_idle, Idle}, {socket_keepalive_interval, Interval},
                         {socket_keepalive_count, Count}]
                end,
    {Client, #{node := Node} = Server} = restart(Config, Keepalive(7, 3, 4), Keepalive(9, 2, 6)),
    Node = echo(Client, Node, ?LONG),
    ?assertMatch(#{role := client, socket_keepalive := {7, 3, 4}},
                 gen_rpc_test_node:connection(Client, Node)),
    ?assertMatch([#{role := server, socket_keepalive := {9, 2, 6}}],
                 gen_rpc_test_node:acceptors(Server)).

%% After a thousand connections, and strangers that left at every stage of the handshake, both
%% nodes are as before: ports, descriptors, processes, registry and memory.
thousand_connections(Config) ->
    {Client, Server} = restart(Config, [{client_inactivity_timeout, 100}], []),
    Round = fun() -> connections_come_and_go(Client, Server, 200) end,
    ok = Round(),
    ok = strangers_come_and_go(Server),
    Before = [gen_rpc_test_node:resources(N) || N <- [Client, Server]],
    Memory = [gen_rpc_test_node:driver_memory(N) || N <- [Client, Server]],
    [ok = Round() || _ <- lists:seq(1, 5)],
    [ok = strangers_come_and_go(Server) || _ <- lists:seq(1, 3)],
    wait(fun() -> Before =:= [gen_rpc_test_node:resources(N) || N <- [Client, Server]] end),
    %% Less than 100 bytes for each connection: nothing of one is kept.
    wait(fun() ->
                 Grown = [gen_rpc_test_node:driver_memory(N) - Was
                          || {N, Was} <- lists:zip([Client, Server], Memory)],
                 lists:max(Grown) < 100000
         end).

connections_come_and_go(Client, #{node := Node} = Server, N) ->
    Expected = lists:duplicate(N, Node),
    Expected = run(Client, fun() -> echo_keys(Node, N) end),
    wait(fun() -> registered(Client) =:= 0 end),
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end).

strangers_come_and_go(#{node := Node, port := Port} = Server) ->
    Cookie = atom_to_binary(call(Server, erlang, get_cookie, [])),
    [Leave(come(Stage, Port, atom_to_binary(Node), Cookie))
     || Stage <- [connected, magic, half_a_hello, hello, proof, result],
        Leave <- [fun gen_tcp:close/1, fun gen_rpc_test_stranger:reset/1],
        _ <- lists:seq(1, 10)],
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end).

%% Goes that far through the handshake.
come(connected, Port, _Target, _Cookie) ->
    gen_rpc_test_stranger:connect(Port);
come(magic, Port, Target, _Cookie) ->
    send(Port, binary:part(gen_rpc_test_stranger:hello(<<"stranger@host">>, Target), 0, 4));
come(half_a_hello, Port, Target, _Cookie) ->
    send(Port, binary:part(gen_rpc_test_stranger:hello(<<"stranger@host">>, Target), 0, 40));
come(hello, Port, Target, _Cookie) ->
    send(Port, gen_rpc_test_stranger:hello(<<"stranger@host">>, Target));
come(proof, Port, Target, Cookie) ->
    Hello = gen_rpc_test_stranger:hello(<<"stranger@host">>, Target),
    Socket = send(Port, Hello),
    ServerHello = gen_rpc_test_stranger:recv(Socket, 8 + 44),
    ok = gen_tcp:send(Socket, gen_rpc_test_stranger:proof(Cookie, Hello, ServerHello)),
    Socket;
come(result, Port, Target, Cookie) ->
    Socket = gen_rpc_test_stranger:connect(Port),
    ok = gen_rpc_test_stranger:login(Socket, <<"stranger@host">>, Target, Cookie),
    Socket.

send(Port, Bytes) ->
    Socket = gen_rpc_test_stranger:connect(Port),
    ok = gen_tcp:send(Socket, Bytes),
    Socket.

%%% Helpers

%% What the node that is reached calls itself.
echo(From, Dest, Timeout) ->
    call(From, gen_rpc, call, [Dest, erlang, node, [], Timeout]).

%% On a node: calls over N connections that are all made at once.
echo_keys(Node, N) ->
    Tasks = gen_rpc_test_task:start(
              N, fun(Key) -> gen_rpc:call({Node, Key}, erlang, node, [], ?LONG) end),
    gen_rpc_test_task:results(Tasks).

way(Node, Port) ->
    ways([{Node, Port}]).

ways(Ways) ->
    {client_config_per_node, {internal, maps:from_list(Ways)}}.

registered(Node) ->
    call(Node, ets, info, [gen_rpc_registry, size]).
