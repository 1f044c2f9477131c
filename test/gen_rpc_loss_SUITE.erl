%% SPDX-License-Identifier: Apache-2.0
%% How connections are lost, and what their callers hear of it: a peer that ends, freezes, or is cut
%% off in the middle of a message.
-module(gen_rpc_loss_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([node_halts/1, node_is_killed/1, node_stops/1,
         frozen_peer_delays_nobody_else/1, frozen_peer_is_given_up/1, frozen_peer_thaws/1, own_node_stands_still/1,
         sender_to_a_frozen_peer/1, casts_to_a_frozen_peer/1,
         reset_in_handshake/1, reset_in_request/1, reset_in_reply/1,
         port_killed/1, port_closed/1, incoming_port_killed/1]).

-import(gen_rpc_test_node, [call/4, rpc/4, run/2, wait/1]).
-import(gen_rpc_test_pair, [lines/2]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(CALLERS, 50).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, ended}, {group, frozen}, {group, cut}, {group, port}].

groups() ->
    [{ended, [], [node_halts, node_is_killed, node_stops]},
     {frozen, [], [frozen_peer_delays_nobody_else, frozen_peer_is_given_up, frozen_peer_thaws, own_node_stands_still,
                   sender_to_a_frozen_peer, casts_to_a_frozen_peer]},
     {cut, [], [reset_in_handshake, reset_in_request, reset_in_reply]},
     {port, [], [port_killed, port_closed, incoming_port_killed]}].

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

%%% A node that ends while calls wait: each hears of it once, the next call is told that there is no
%%% node, and when it comes back at the same port, calls work again.

%% It ends at once, in the middle of everything.
node_halts(Config) ->
    node_ends(Config, fun(Server) -> peer:stop(maps:get(peer, Server)) end).

%% Its operating system ends it.
node_is_killed(Config) ->
    node_ends(Config, fun gen_rpc_test_node:kill/1).

%% It stops its applications one by one.
node_stops(Config) ->
    node_ends(Config, fun(#{peer := Peer} = Server) ->
                              true = unlink(Peer),
                              Monitor = monitor(process, Peer),
                              ok = call(Server, init, stop, []),
                              receive {'DOWN', Monitor, process, Peer, _} -> ok end
                      end).

node_ends(Config, End) ->
    Name = peer:random_name(),
    Start = fun(Port) -> gen_rpc_test_node:start(Name, [{tcp_server_port, Port}]) end,
    #{node := Node} = Server = Start(gen_rpc_test_node:free_port()),
    {Client, _} = restart(Config, [gen_rpc_test_node:env([Server])], []),
    Waiting = [waiting_calls(Client, Server, Dest) || Dest <- [Node, {Node, key}]],
    ok = End(Server),
    [begin
         ?assertMatch({{badtcp, _}, _, _}, Result),
         ?assertMatch({_, {badrpc, nodedown}, []}, Result)
     end || Result <- gen_rpc_test_task:results(lists:append(Waiting))],
    ?assertEqual([], call(Client, gen_rpc, nodes, [])),
    Again = Start(maps:get(port, Server)),
    wait(fun() -> rpc(Client, Again, {erlang, node}, []) =:= Node end),
    ok = gen_rpc_test_node:stop(Again).

%% Calls that never end by themselves, all of them at work on the server. Each returns the result of
%% the call, that of another call after it, and what is in the caller's mailbox then.
waiting_calls(Client, Server, Dest) ->
    Served = served(Server),
    Tasks = gen_rpc_test_task:start(
              ?CALLERS, fun(_) -> run(Client, fun() -> call_twice(Dest) end) end),
    wait(fun() -> served(Server) =:= Served + ?CALLERS end),
    Tasks.

call_twice(Dest) ->
    First = gen_rpc:call(Dest, timer, sleep, [infinity], ?LONG),
    Second = gen_rpc:call(Dest, erlang, node, [], ?LONG),
    {First, Second, element(2, process_info(self(), messages))}.

served(Server) ->
    lists:sum([Served || #{served := Served} <- gen_rpc_test_node:acceptors(Server)]).

%%% A peer that is frozen: its kernel still takes connections and some data

%% Calls to a frozen peer end in their own time, and calls to others do not wait for them.
frozen_peer_delays_nobody_else(Config) ->
    with_frozen_peer(
      Config, [],
      fun(Client, Server, Node) ->
              Waiting = gen_rpc_test_task:start(
                          20, fun(I) -> echo(Client, {Node, I rem 4}, 500) end),
              Late = gen_rpc_test_task:start(fun() -> echo(Client, Node, ?LONG) end),
              wait(fun() -> maps:get(calls, gen_rpc_test_node:connection(Client, Node)) >= 1 end),
              Other = maps:get(node, Server),
              [?assertEqual(Other, echo(Client, {Other, Key}, 10000)) || Key <- lists:seq(1, 10)],
              ?assertEqual(lists:duplicate(20, {badrpc, timeout}),
                           gen_rpc_test_task:results(Waiting)),
              ?assert(gen_rpc_test_task:is_running(Late)),
              {thaw, fun() -> ?assertEqual(Node, gen_rpc_test_task:result(Late)) end}
      end).

%% A peer that does not answer the ping is given up: those who wait hear why.
frozen_peer_is_given_up(Config) ->
    with_frozen_peer(
      Config, [{keepalive_interval, 1}, {authentication_timeout, 300}],
      fun(Client, _Server, Node) ->
              Waiting = gen_rpc_test_task:start(10, fun(_) -> echo(Client, Node, ?LONG) end),
              ?assertEqual(lists:duplicate(10, {badtcp, keepalive_timeout}),
                           gen_rpc_test_task:results(Waiting)),
              ?assertEqual([{Node, keepalive_timeout}],
                           lists:usort([{N, Reason} || #{node := N, reason := Reason}
                                                           <- lines(Client, "connection lost")])),
              ?assertEqual({badrpc, nodedown}, echo(Client, Node, ?LONG)),
              {thaw, fun() -> ok end}
      end).

%% A frozen peer that thaws in time has lost nothing: the connection is the same.
frozen_peer_thaws(Config) ->
    with_frozen_peer(
      Config, [],
      fun(Client, _Server, Node) ->
              Waiting = gen_rpc_test_task:start(10, fun(_) -> echo(Client, Node, ?LONG) end),
              wait(fun() -> maps:get(calls, gen_rpc_test_node:connection(Client, Node)) =:= 10 end),
              {ok, Port} = call(Client, gen_rpc_registry, lookup, [Node]),
              {thaw, fun() ->
                             ?assertEqual(lists:duplicate(10, Node),
                                          gen_rpc_test_task:results(Waiting)),
                             ?assertEqual({ok, Port},
                                          call(Client, gen_rpc_registry, lookup, [Node]))
                     end}
      end).

%% A node that stood still itself, because it was suspended or had no processor, has a look at its
%% sockets before it finds that its peer did nothing for too long.
own_node_stands_still(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, 1000}], []),
    Size = 200 * 1024 * 1024,
    [begin
         Before = bytes_in(Server),
         Call = gen_rpc_test_task:start(
                  fun() -> run(Client, fun() -> call_with_bytes(Node, Size) end) end),
         wait(fun() -> bytes_in(Server) > Before + 1000000 end),
         Frozen = gen_rpc_test_node:freeze(Client),
         timer:sleep(2000),
         ok = gen_rpc_test_node:thaw(Frozen),
         ?assertEqual(Size, gen_rpc_test_task:result(Call))
     end || _ <- lists:seq(1, 5)].

call_with_bytes(Node, Size) ->
    gen_rpc:call(Node, erlang, byte_size, [binary:copy(<<0>>, Size)], ?LONG, ?LONG).

bytes_in(Server) ->
    lists:sum([In || #{bytes_in := In} <- gen_rpc_test_node:acceptors(Server)]).

%% When a peer takes no bytes, a caller waits for room only as long as its send timeout allows, and
%% the connection is given up after its own. Then those whose request may have left hear
%% send_timeout, the others that there is no node.
sender_to_a_frozen_peer(Config) ->
    with_frozen_peer(
      Config, [{send_timeout, 1000}, {authentication_timeout, 300}],
      fun(Client, _Server, Node) ->
              Calls = gen_rpc_test_task:start(
                        40, fun(_) ->
                                    run(Client, fun() -> call_with_megabytes(Node, 50) end)
                            end),
              Results = gen_rpc_test_task:results(Calls),
              ?assertEqual([{badrpc, nodedown}, {badtcp, send_timeout}], lists:usort(Results)),
              ?assertMatch([#{reason := send_timeout}], lines(Client, "connection lost")),
              {thaw, fun() -> ok end}
      end).

call_with_megabytes(Node, SendTimeout) ->
    Binary = binary:copy(<<0>>, 1024 * 1024),
    gen_rpc:call(Node, erlang, byte_size, [Binary], ?LONG, SendTimeout).

%% A hundred megabytes cast at a frozen peer stay out of the sender's memory: what does not fit into
%% the queue is dropped and logged, each after its send timeout.
casts_to_a_frozen_peer(Config) ->
    with_frozen_peer(
      Config, [],
      fun(Client, _Server, Node) ->
              Grown = run(Client, fun() -> cast_megabytes(Node, 100) end),
              ?assert(Grown < 16 * 1024 * 1024, Grown),
              ?assertMatch(#{output := Output} when Output < 6 * 1024 * 1024,
                                                   gen_rpc_test_node:connection(Client, Node)),
              ?assertMatch([#{reason := send_timeout, node := Node} | _],
                           lines(Client, "cast dropped")),
              {thaw, fun() -> ok end}
      end).

%% How many bytes the node's memory grew by, at most.
cast_megabytes(Node, N) ->
    Before = gen_rpc_test_node:memory(total),
    Sizes = [begin
                 Megabyte = crypto:strong_rand_bytes(1024 * 1024),
                 true = gen_rpc:cast(Node, erlang, byte_size, [Megabyte], 10),
                 true = erlang:garbage_collect(),
                 gen_rpc_test_node:memory(total)
             end || _ <- lists:seq(1, N)],
    lists:max(Sizes) - Before.

%% The client has connections to a peer, as Node and with the keys 0 to 3, that freezes. The case
%% says what to check when it has thawed; in the end calls work again.
with_frozen_peer(Config, Settings, Case) ->
    #{node := Node} = Peer = gen_rpc_test_node:start([]),
    {_, #{port := Port}} = restart(Config, [], []),
    Server0 = element(2, proplists:get_value(pair, Config)),
    {Client, Server} = restart(Config, [gen_rpc_test_node:env([Peer, Server0#{port := Port}])
                                       | Settings], [{tcp_server_port, Port}]),
    [Node = echo(Client, Dest, ?LONG) || Dest <- [Node | [{Node, Key} || Key <- [0, 1, 2, 3]]]],
    Frozen = gen_rpc_test_node:freeze(Peer),
    After = try
                {thaw, Fun} = Case(Client, Server, Node),
                Fun
            after
                gen_rpc_test_node:thaw(Frozen)
            end,
    After(),
    wait(fun() -> echo(Client, Node, ?LONG) =:= Node end),
    ok = gen_rpc_test_node:stop(Peer).

%%% A connection that is cut: both sides say so in one line and go on

%% Whatever byte of the handshake is the last to pass: nothing of the call was sent.
reset_in_handshake(Config) ->
    with_proxy(
      Config,
      fun(Client, Server, Proxy) ->
              [begin
                   ok = gen_rpc_test_proxy:reset_after(Proxy, Direction, Bytes),
                   ?assertEqual({badrpc, nodedown}, rpc(Client, Server, {erlang, node}, []))
               end || {Direction, Bytes} <- [{to_server, 1}, {to_server, 30}, {to_server, 130},
                                             {to_client, 1}, {to_client, 60}]],
              %% The last one is cut behind the server's result: for the server it was up.
              wait(fun() -> length(lines(Server, "peer refused")) =:= 4 end),
              wait(fun() -> length(lines(Server, "incoming connection lost")) =:= 1 end),
              ?assertEqual(5, length(lines(Client, "cannot connect")))
      end).

%% In the header or the middle of a request: its caller hears that it may have run.
reset_in_request(Config) ->
    Large = binary:copy(<<"x">>, 1000000),
    [with_proxy(
       Config,
       fun(Client, #{node := Node} = Server, Proxy) ->
               Node = rpc(Client, Server, {erlang, node}, []),
               ok = gen_rpc_test_proxy:reset_after(Proxy, to_server, Bytes),
               ?assertMatch({badtcp, _}, rpc(Client, Server, {erlang, byte_size}, [Large])),
               check_one_line_each(Client, Server)
       end) || Bytes <- [1, 10, 16, 500000]].

%% In the header or the middle of a reply: likewise, and the server has done its work in vain.
reset_in_reply(Config) ->
    [with_proxy(
       Config,
       fun(Client, #{node := Node} = Server, Proxy) ->
               Node = rpc(Client, Server, {erlang, node}, []),
               ok = gen_rpc_test_proxy:reset_after(Proxy, to_client, Bytes),
               ?assertMatch({badtcp, _},
                            rpc(Client, Server, {binary, copy}, [<<"x">>, 1000000])),
               check_one_line_each(Client, Server)
       end) || Bytes <- [1, 10, 16, 500000]].

check_one_line_each(Client, Server) ->
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end),
    ?assertMatch([_], lines(Client, "connection lost")),
    wait(fun() -> length(lines(Server, "incoming connection lost")) =:= 1 end).

%% In the end calls work again, through the same proxy. Each call that finds no connection makes one.
with_proxy(Config, Case) ->
    {_, #{port := Port}} = restart(Config, [], []),
    Proxy = gen_rpc_test_proxy:start(Port),
    Server0 = element(2, proplists:get_value(pair, Config)),
    Way = gen_rpc_test_node:env([Server0#{port := gen_rpc_test_proxy:port(Proxy)}]),
    {Client, #{node := Node} = Server} = restart(Config, [Way, {reconnect_backoff_max, 0}],
                                                 [{tcp_server_port, Port}]),
    Case(Client, Server, Proxy),
    ?assertEqual(Node, rpc(Client, Server, {erlang, node}, [])),
    ok = gen_rpc_test_proxy:stop(Proxy).

%%% A port that is taken from its owner

%% Somebody kills the port of a client: those who wait hear of it, the next call makes another.
port_killed(Config) ->
    port_ends(Config, fun(Client, Port) -> run(Client, fun() -> exit(Port, kill) end) end).

%% Somebody closes it.
port_closed(Config) ->
    port_ends(Config, fun(Client, Port) -> run(Client, fun() -> port_close(Port) end) end).

%% The same on the server.
incoming_port_killed(Config) ->
    port_ends(Config,
              fun(_Client, _Port) ->
                      {_, Server} = proplists:get_value(pair, Config),
                      run(Server, fun() ->
                                          [Port] = gen_rpc_test_node:local_acceptor_ports(),
                                          exit(Port, kill)
                                  end)
              end).

port_ends(Config, End) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    Node = echo(Client, Node, ?LONG),
    Before = {gen_rpc_test_node:resources(Client), gen_rpc_test_node:resources(Server)},
    Waiting = waiting_calls(Client, Server, Node),
    {ok, Port} = call(Client, gen_rpc_registry, lookup, [Node]),
    true = End(Client, Port),
    [?assertMatch({{badtcp, _}, Node, []}, Result) || Result <- gen_rpc_test_task:results(Waiting)],
    ok = stop_sleepers(Server),
    wait(fun() -> Before =:= {gen_rpc_test_node:resources(Client),
                              gen_rpc_test_node:resources(Server)} end).

%%% Helpers

%% What the node that is reached calls itself.
echo(From, Dest, Timeout) ->
    call(From, gen_rpc, call, [Dest, erlang, node, [], Timeout]).

%% Workers go on when their connection is lost.
stop_sleepers(Server) ->
    run(Server, fun() ->
                        [exit(Pid, kill) || Pid <- processes(),
                                            {current_function, {timer, sleep, 1}} <-
                                                [process_info(Pid, current_function)],
                                            {initial_call, {gen_rpc_worker, call, 3}} <-
                                                [process_info(Pid, initial_call)]],
                        ok
                end).
