%% SPDX-License-Identifier: Apache-2.0
%% client_inactivity_timeout and server_inactivity_timeout: when they close a connection and when
%% they must not. That time has passed is told by a twin: another connection with the same timeout,
%% made later and left alone, that has closed.
-module(gen_rpc_inactivity_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([client_closes/1, server_closes/1,
         call_in_flight_on_client/1, call_in_flight_on_server/1,
         request_queued/1, reply_queued/1,
         ping_is_no_activity_of_client/1, ping_is_no_activity_of_server/1,
         pauses_near_client_timeout/1, pauses_near_server_timeout/1, pauses_near_both_timeouts/1]).
-export([count_bytes/1, large_reply_at_gate/2]).

-import(gen_rpc_test_node, [call/4, run/2, wait/1]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, closes}, {group, stays}, {group, races}].

groups() ->
    [{closes, [], [client_closes, server_closes,
                   ping_is_no_activity_of_client, ping_is_no_activity_of_server]},
     {stays, [], [call_in_flight_on_client, call_in_flight_on_server,
                  request_queued, reply_queued]},
     {races, [], [pauses_near_client_timeout, pauses_near_server_timeout,
                  pauses_near_both_timeouts]}].

init_per_suite(Config) ->
    [{pair, gen_rpc_test_pair:start()} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(proplists:get_value(pair, Config)).

init_per_testcase(_Case, Config) ->
    Config.

%% To close an idle connection is nothing to talk about, on either side.
end_per_testcase(_Case, Config) ->
    {Client, Server} = Pair = proplists:get_value(pair, Config),
    case gen_rpc_test_events:ours(Client) ++ gen_rpc_test_events:ours(Server) of
        [] -> gen_rpc_test_pair:finish(Pair);
        Lines -> {fail, Lines}
    end.

restart(Config, ClientSettings, ServerSettings) ->
    gen_rpc_test_pair:restart(proplists:get_value(pair, Config), ClientSettings, ServerSettings).

%%% Closes

%% The client ends a connection that nobody uses; the next call makes another.
client_closes(Config) ->
    closes(restart(Config, [{client_inactivity_timeout, 100}], [])).

%% So does the server, for itself.
server_closes(Config) ->
    closes(restart(Config, [], [{server_inactivity_timeout, 100}])).

closes({Client, #{node := Node} = Server}) ->
    [begin
         ?assertEqual(Node, echo(Client, Dest)),
         ok = wait_closed(Client, Server)
     end || Dest <- [Node, Node, {Node, key}]],
    %% One after a cast, too: that it was the last thing sent does not lose it.
    ok = call(Server, gen_rpc_test_target, start_counter, []),
    true = call(Client, gen_rpc, cast, [Node, gen_rpc_test_target, count, [cast]]),
    ok = wait_closed(Client, Server),
    ?assertEqual([cast], call(Server, gen_rpc_test_target, counted, [])),
    true = run(Server, fun() -> exit(whereis(gen_rpc_test_target), kill) end).

wait_closed(Client, Server) ->
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end),
    wait(fun() -> registered(Client) =:= 0 end).

%% A ping that the client sends in the meantime does not put off the end.
ping_is_no_activity_of_client(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{client_inactivity_timeout, 1700}, {keepalive_interval, 1}], []),
    Node = echo(Client, Node),
    #{frames_out := Frames} = gen_rpc_test_node:connection(Client, Node),
    wait(fun() -> maps:get(frames_out, gen_rpc_test_node:connection(Client, Node)) > Frames end),
    wait_closed(Client, Server).

%% Nor does one that the server gets.
ping_is_no_activity_of_server(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{keepalive_interval, 1}], [{server_inactivity_timeout, 1700}]),
    Node = echo(Client, Node),
    [#{frames_in := Frames}] = gen_rpc_test_node:acceptors(Server),
    wait(fun() ->
                 [#{frames_in := Now}] = gen_rpc_test_node:acceptors(Server),
                 Now > Frames
         end),
    wait_closed(Client, Server).

%%% Stays

%% A call that lasts several times the client's timeout keeps its connection, which closes after it.
call_in_flight_on_client(Config) ->
    call_in_flight(restart(Config, [{client_inactivity_timeout, 150}], [])).

%% The same for the server's.
call_in_flight_on_server(Config) ->
    call_in_flight(restart(Config, [], [{server_inactivity_timeout, 150}])).

call_in_flight({Client, #{node := Node} = Server}) ->
    Waiting = gen_rpc_test_task:start(
                fun() ->
                        call(Client, gen_rpc, call, [Node, gen_rpc_test_target, wait_at_gate,
                                                     [gate], ?LONG])
                end),
    wait(fun() -> call(Server, gen_rpc_test_target, at_gate, [gate]) end),
    {ok, Port} = call(Client, gen_rpc_registry, lookup, [Node]),
    [ok = twin_comes_and_goes(Client, {Node, Twin}) || Twin <- [1, 2, 3]],
    ?assertEqual({ok, Port}, call(Client, gen_rpc_registry, lookup, [Node])),
    ok = call(Server, gen_rpc_test_target, open_gate, [gate]),
    ?assertEqual({through, gate}, gen_rpc_test_task:result(Waiting)),
    wait_closed(Client, Server).

%% Several times: each takes at least the timeout.
twin_comes_and_goes(Client, Dest) ->
    Node = gen_rpc_dest:node(Dest),
    ?assertEqual(Node, echo(Client, Dest)),
    wait(fun() -> call(Client, gen_rpc_registry, client, [Dest]) =:= none end).

%% A cast that is queued for a frozen server keeps its connection, and arrives.
request_queued(Config) ->
    #{node := Frozen} = Peer = gen_rpc_test_node:start([]),
    {_, #{port := Port}} = restart(Config, [], []),
    Server0 = element(2, proplists:get_value(pair, Config)),
    {Client, #{node := Node} = Server} =
        restart(Config, [{client_inactivity_timeout, 1000}, {send_timeout, ?LONG},
                         gen_rpc_test_node:env([Peer, Server0#{port := Port}])],
                [{tcp_server_port, Port}]),
    ok = call(Peer, gen_rpc_test_target, start_counter, []),
    Frozen = echo(Client, Frozen),
    {ok, Connection} = call(Client, gen_rpc_registry, lookup, [Frozen]),
    Busy = {Caller, _} = gen_rpc_test_task:start(fun() -> keep_busy(Client, Frozen) end),
    OsPid = gen_rpc_test_node:freeze(Peer),
    true = run(Client, fun() ->
                               Argument = binary:copy(<<"x">>, 20000000),
                               gen_rpc:cast(Frozen, ?MODULE, count_bytes, [Argument])
                       end),
    Caller ! stop,
    ok = gen_rpc_test_task:result(Busy),
    ?assertMatch(#{output := Output, calls := 0, waiting := 0} when Output > 0,
                 gen_rpc_test_node:connection(Client, Frozen)),
    [ok = twin_comes_and_goes(Client, {Node, Twin}) || Twin <- [1, 2, 3]],
    ?assertEqual({ok, Connection}, call(Client, gen_rpc_registry, lookup, [Frozen])),
    ok = gen_rpc_test_node:thaw(OsPid),
    wait(fun() -> call(Peer, gen_rpc_test_target, counted, []) =:= [20000000] end),
    wait_closed(Client, Server),
    ok = gen_rpc_test_node:stop(Peer).

%% Calls, each with a short time limit of its own, until told to stop.
keep_busy(Client, Node) ->
    _ = call(Client, gen_rpc, call, [Node, erlang, node, [], 50]),
    receive stop -> ok after 0 -> keep_busy(Client, Node) end.

count_bytes(Argument) ->
    gen_rpc_test_target:count(byte_size(Argument)).

%% A reply that is queued for a frozen client keeps its connection on the server.
reply_queued(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{server_inactivity_timeout, 1000},
                                                              {send_timeout, ?LONG}]),
    Other = gen_rpc_test_node:start([gen_rpc_test_node:env([Server])]),
    Waiting = gen_rpc_test_task:start(
                fun() -> run(Other, fun() -> size_of_large_reply(Node) end) end),
    wait(fun() -> call(Server, gen_rpc_test_target, at_gate, [gate]) end),
    OsPid = gen_rpc_test_node:freeze(Other),
    ok = call(Server, gen_rpc_test_target, open_gate, [gate]),
    %% The frames tell a goodbye, which would stay behind the reply.
    Queued = fun() ->
                     [Frames || #{output := Output, served := 0, frames_out := Frames}
                                    <- gen_rpc_test_node:acceptors(Server), Output > 0]
             end,
    wait(fun() -> length(Queued()) =:= 1 end),
    Before = Queued(),
    [ok = twin_comes_and_goes(Client, {Node, Twin}) || Twin <- [1, 2, 3]],
    ?assertEqual(Before, Queued()),
    ok = gen_rpc_test_node:thaw(OsPid),
    ?assertEqual(20000000, gen_rpc_test_task:result(Waiting)),
    wait_closed(Client, Server),
    ok = gen_rpc_test_node:stop(Other).

size_of_large_reply(Node) ->
    byte_size(gen_rpc:call(Node, ?MODULE, large_reply_at_gate, [gate, 20000000], ?LONG)).

large_reply_at_gate(Gate, Size) ->
    {through, Gate} = gen_rpc_test_target:wait_at_gate(Gate),
    binary:copy(<<"x">>, Size).

%%% Races: a connection that says goodbye at the very moment of a call

%% Calls with pauses about as long as the timeout meet every moment of a graceful close, and none of
%% them ever fails.
pauses_near_client_timeout(Config) ->
    pauses(restart(Config, [{client_inactivity_timeout, 20}], [])).

pauses_near_server_timeout(Config) ->
    pauses(restart(Config, [], [{server_inactivity_timeout, 20}])).

pauses_near_both_timeouts(Config) ->
    pauses(restart(Config, [{client_inactivity_timeout, 20}], [{server_inactivity_timeout, 20}])).

%% Two processes share each destination, so that one calls while the other's call closes.
pauses({Client, #{node := Node} = Server}) ->
    Callers = gen_rpc_test_task:start(
                12, fun(I) -> run(Client, fun() -> call_with_pauses({Node, I div 2}, 80) end) end),
    ?assertEqual([Node], lists:usort(lists:append(gen_rpc_test_task:results(Callers)))),
    wait_closed(Client, Server).

%% The pauses are the load.
call_with_pauses(Dest, N) ->
    [begin
         timer:sleep(15 + rand:uniform(12)),
         gen_rpc:call(Dest, erlang, node, [], ?LONG)
     end || _ <- lists:seq(1, N)].

%%% Helpers

%% What the node that is reached calls itself.
echo(From, Dest) ->
    call(From, gen_rpc, call, [Dest, erlang, node, [], ?LONG]).

registered(Node) ->
    call(Node, ets, info, [gen_rpc_registry, size]).
