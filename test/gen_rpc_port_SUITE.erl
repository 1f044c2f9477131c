%% SPDX-License-Identifier: Apache-2.0
%% The driver by itself: its ports, commanded directly, in one VM that has no other part of the
%% application at work. What a port sends is exactly what the head of gen_rpc_port.erl says. Wrong
%% commands are in gen_rpc_nonsense_SUITE.
-module(gen_rpc_port_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([wrong_version/1, handshake_messages/1, over_ipv6/1, nobody_listens/1, address_in_use/1,
         refused_beyond_the_maximum/1, silent_peer/1, wrong_cookie/1,
         call_and_reply/1, one_caller_needs_no_flush/1, more_callers_are_flushed_together/1,
         casts_in_batches/1, large_messages/1, any_process_may_call/1,
         nothing_before_activate/1, credit_bounds_what_is_delivered/1, busy_and_ready/1,
         too_big/1, cancel/1, info_counts/1,
         goodbye_when_idle/1, goodbye_lets_calls_end/1, goodbye_has_its_time/1, goodbye_of_server/1,
         idle_is_told_once/1,
         closed_with_callers/1, owner_dies_with_callers/1, lost_with_callers/1,
         lost_with_thousands_of_callers/1, owner_changes/1, listener_closes/1,
         long_schedules/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).
-import(gen_rpc_test_ports, [settings/0, listen/1, make_pair/2, close/1, tag/1, next/0,
                             unflushed/0, next_but/1, down/1, none/2, flush/1, round_trip/3,
                             take_requests/2]).

-define(LOOPBACK, {127, 0, 0, 1}).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, making}, {group, messages}, {group, closing}, {group, losing}, long_schedules].

groups() ->
    [{making, [], [wrong_version, handshake_messages, over_ipv6, nobody_listens, address_in_use,
                   refused_beyond_the_maximum, silent_peer, wrong_cookie]},
     {messages, [], [call_and_reply, one_caller_needs_no_flush, more_callers_are_flushed_together,
                     casts_in_batches, large_messages, any_process_may_call,
                     nothing_before_activate, credit_bounds_what_is_delivered, busy_and_ready,
                     too_big, cancel, info_counts]},
     {closing, [], [goodbye_when_idle, goodbye_lets_calls_end, goodbye_has_its_time,
                    goodbye_of_server, idle_is_told_once]},
     {losing, [], [closed_with_callers, owner_dies_with_callers, lost_with_callers,
                   lost_with_thousands_of_callers, owner_changes, listener_closes]}].

%% The node is another one than the test's: if the driver brings it down, only a test fails.
init_per_suite(Config) ->
    Node = gen_rpc_test_node:keep(gen_rpc_test_node:start([{tcp_server_port, false}])),
    [{node, Node} | Config].

end_per_suite(Config) ->
    gen_rpc_test_node:stop(proplists:get_value(node, Config)).

init_per_testcase(_Case, Config) ->
    Node = proplists:get_value(node, Config),
    [{before, gen_rpc_test_node:resources(Node)} | Config].

end_per_testcase(_Case, Config) ->
    Node = proplists:get_value(node, Config),
    Before = proplists:get_value(before, Config),
    gen_rpc_test_node:expect_resources(Node, Before).

%% Runs a case on the node, in one process that owns all its ports.
on_node(Config, Case) ->
    run(proplists:get_value(node, Config), Case).

%%% Making a connection

%% A port of a driver that speaks other commands than gen_rpc_port does not open.
wrong_version(Config) ->
    on_node(
      Config,
      fun() ->
              [?assertError(badarg, open_port({spawn_driver, "gen_rpc_drv" ++ Rest}, []))
               || Rest <- ["", " ", " 1", " 20", " 2 ", " 2x", " two"]],
              Port = open_port({spawn_driver, "gen_rpc_drv 2"}, []),
              ?assertError(badarg, erlang:port_call(Port, 0, nothing)),
              ok = gen_rpc_port:close(Port)
      end).

%% Two ports find each other: {Listener, accepted, Child, Address}, then on both sides the other's
%% name and the largest message that it takes.
handshake_messages(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Number} = listen(10),
              Client = gen_rpc_port:open(),
              ok = gen_rpc_port:connect(Client, {?LOOPBACK, Number}, ?LONG,
                                        (settings())#{name := <<"client">>, target => <<"server">>,
                                                      max_message_size := 2000}),
              {Listener, accepted, Server, Address} = next(),
              ?assertMatch({?LOOPBACK, _}, gen_rpc_port:address(Address)),
              ?assertMatch(#{state := accepted, role := server}, gen_rpc_port:info(Server)),
              ok = gen_rpc_port:handshake(Server, (settings())#{name := <<"server">>,
                                                                max_message_size := 3000}),
              ?assertEqual(lists:sort([{Client, up, <<"server">>, 3000},
                                       {Server, up, <<"client">>, 2000}]),
                           lists:sort([next(), next()])),
              ?assertMatch(#{state := open, role := client, socket_keepalive := {5, 6, 7}},
                           gen_rpc_port:info(Client)),
              close([Client, Server, Listener])
      end).

%% Addresses of eight parts are IPv6.
over_ipv6(Config) ->
    Loopback = {0, 0, 0, 0, 0, 0, 0, 1},
    on_node(
      Config,
      fun() ->
              Listener = gen_rpc_port:open(),
              case gen_rpc_port:listen(Listener, {Loopback, 0}, 10) of
                  {ok, Number} ->
                      Client = gen_rpc_port:open(),
                      ok = gen_rpc_port:connect(Client, {Loopback, Number}, ?LONG,
                                                (settings())#{target => <<"server">>}),
                      {Listener, accepted, Server, Address} = next(),
                      ?assertMatch({Loopback, _}, gen_rpc_port:address(Address)),
                      close([Client, Server, Listener]);
                  {error, Reason} ->
                      close([Listener]),
                      {skip, Reason}
              end
      end).

%% A connect that is refused ends in {Port, down, econnrefused}; the port is of no use afterwards.
nobody_listens(Config) ->
    on_node(
      Config,
      fun() ->
              Port = gen_rpc_port:open(),
              ok = gen_rpc_port:connect(Port, {?LOOPBACK, gen_rpc_test_node:free_port()}, ?LONG,
                                        (settings())#{target => <<"server">>}),
              ?assertEqual({Port, down, econnrefused}, next()),
              ?assertMatch(#{state := down}, gen_rpc_port:info(Port)),
              ?assertEqual(down, gen_rpc_port:call(Port, 1, infinity, tag(make_ref()), [<<>>])),
              ?assertEqual(down, gen_rpc_port:goodbye(Port, 0, always)),
              ?assertEqual(down, gen_rpc_port:activate(Port)),
              close([Port])
      end).

%% A listener that can't have its address says so at once.
address_in_use(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Number} = listen(10),
              Second = gen_rpc_port:open(),
              ?assertEqual({error, eaddrinuse},
                           gen_rpc_port:listen(Second, {?LOOPBACK, Number}, 10)),
              close([Second, Listener])
      end).

%% More connections than the listener's maximum are closed and counted.
refused_beyond_the_maximum(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Number} = listen(1),
              Sockets = [gen_rpc_test_stranger:connect(Number) || _ <- [1, 2, 3]],
              {Listener, accepted, Server, _} = next(),
              ?assertEqual(2, refused(Listener, 2)),
              %% A closed port gives its place back.
              close([Server]),
              Fourth = gen_rpc_test_stranger:connect(Number),
              {Listener, accepted, Again, _} = next(),
              lists:foreach(fun gen_tcp:close/1, [Fourth | Sockets]),
              close([Again, Listener])
      end).

refused(_Listener, 0) ->
    0;
refused(Listener, Missing) ->
    {Listener, refused, Count} = next(),
    Count + refused(Listener, Missing - Count).

%% The handshake has a time limit on both sides.
silent_peer(Config) ->
    on_node(
      Config,
      fun() ->
              Hasty = (settings())#{authentication_timeout := 50},
              {Listener, Number} = listen(10),
              Client = gen_rpc_port:open(),
              ok = gen_rpc_port:connect(Client, {?LOOPBACK, Number}, ?LONG,
                                        Hasty#{target => <<"server">>}),
              {Listener, accepted, _NeverAnswered, _} = next(),
              ?assertEqual({Client, down, authentication_timeout}, next()),
              Socket = gen_rpc_test_stranger:connect(Number),
              {Listener, accepted, Server, _} = next(),
              ok = gen_rpc_port:handshake(Server, Hasty),
              ?assertEqual({Server, down, authentication_timeout}, next()),
              ok = gen_tcp:close(Socket),
              close([Client, Server, Listener])
      end).

%% Both sides of a wrong cookie hear the same.
wrong_cookie(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Number} = listen(10),
              Client = gen_rpc_port:open(),
              ok = gen_rpc_port:connect(Client, {?LOOPBACK, Number}, ?LONG,
                                        (settings())#{target => <<"server">>, cookie := <<"a">>}),
              {Listener, accepted, Server, _} = next(),
              ok = gen_rpc_port:handshake(Server, (settings())#{cookie := <<"b">>}),
              ?assertEqual(lists:sort([{Client, down, invalid_cookie},
                                       {Server, down, invalid_cookie}]),
                           lists:sort([next(), next()])),
              close([Client, Server, Listener])
      end).

%%% Messages

%% A request comes to the server's owner with its id, its reply to whoever called, under the
%% reference that he gave.
call_and_reply(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Ref = make_ref(),
              ok = gen_rpc_port:call(Client, 7, infinity, tag(Ref), [<<"re">>, <<"quest">>]),
              ?assertEqual({Server, requests, [{7, <<"request">>}]}, next()),
              ok = gen_rpc_port:credit(Server),
              ok = gen_rpc_port:reply(Server, 7, tag(make_ref()), [<<"re">>, <<"ply">>]),
              ?assertEqual({Ref, <<"reply">>}, next()),
              %% A second reply to the same request is for nobody.
              ok = gen_rpc_port:reply(Server, 7, tag(make_ref()), [<<"again">>]),
              empty_messages(Client, Server),
              none(Client, Server)
      end).

%% Messages without a byte are messages.
empty_messages(Client, Server) ->
    ok = gen_rpc_port:cast(Client, 1, infinity, tag(make_ref()), []),
    ok = gen_rpc_port:flush(Client),
    ?assertEqual({Server, requests, [{0, <<>>}]}, unflushed()),
    ok = gen_rpc_port:credit(Server),
    ?assertEqual(<<>>, round_trip(Client, Server, <<>>)).

%% A call with no other under way is written at once.
one_caller_needs_no_flush(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              [?assertEqual(<<"x">>, round_trip(Client, Server, <<"x">>)) || _ <- lists:seq(1, 10)],
              none(Client, Server)
      end).

%% More calls wait for the owner's flush, which is asked for once and writes all of them.
more_callers_are_flushed_together(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              ok = gen_rpc_port:call(Client, 1, infinity, tag(make_ref()), [<<"a">>]),
              ?assertEqual({Server, requests, [{1, <<"a">>}]}, next()),
              [ok = gen_rpc_port:call(Client, Id, infinity, tag(make_ref()), [<<"b">>])
               || Id <- [2, 3, 4]],
              ?assertEqual({Client, flush}, next()),
              ?assertMatch(#{output := Queued, calls := 4} when Queued > 0,
                                                                gen_rpc_port:info(Client)),
              ok = gen_rpc_port:flush(Client),
              ?assertEqual({Server, requests, [{2, <<"b">>}, {3, <<"b">>}, {4, <<"b">>}]}, next()),
              ?assertMatch(#{output := 0, calls := 4}, gen_rpc_port:info(Client)),
              [ok = gen_rpc_port:credit(Server) || _ <- [1, 2]]
      end).

%% Casts keep their order, come many in a message, and have the id 0.
casts_in_batches(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              [ok = gen_rpc_port:cast(Client, N, infinity, tag(make_ref()), [<<N:32>>])
               || N <- lists:seq(1, 1000)],
              ok = gen_rpc_port:flush(Client),
              {Messages, Casts} = take_requests(Server, 1000),
              ?assertEqual([{0, <<N:32>>} || N <- lists:seq(1, 1000)], Casts),
              ?assert(Messages < 100, Messages)
      end).

%% Messages of any size up to the limit arrive whole, in one piece or in many.
large_messages(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              [begin
                   Message = rand:bytes(Size),
                   ?assertEqual(Message, round_trip(Client, Server, Message)),
                   ?assertEqual(Message, round_trip(Client, Server, [Message])),
                   Parts = [binary:part(Message, {At, min(999, Size - At)})
                            || At <- lists:seq(0, Size - 1, 999)],
                   ?assertEqual(Message, round_trip(Client, Server, Parts))
               end || Size <- [1, 16383, 16384, 16385, 65536, 524288, 524289, 5000000]]
      end).

%% Not only the owner: a call belongs to the process that made it.
any_process_may_call(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Callers = gen_rpc_test_task:start(100, fun(Id) -> call_and_wait(Client, Id) end),
              ok = serve(Client, Server, 100),
              ?assertEqual([<<Id:32>> || Id <- lists:seq(1, 100)],
                           gen_rpc_test_task:results(Callers)),
              none(Client, Server)
      end).

call_and_wait(Client, Id) ->
    Ref = make_ref(),
    ok = gen_rpc_port:call(Client, Id, infinity, tag(Ref), [<<Id:32>>]),
    receive {Ref, Answer} -> Answer end.

%% Replies to so many requests with what they are.
serve(Client, Server, 0) ->
    flush([Client, Server]);
serve(Client, Server, Missing) ->
    receive
        {Server, requests, Requests} ->
            [ok = gen_rpc_port:reply(Server, Id, tag(make_ref()), [Body])
             || {Id, Body} <- Requests],
            ok = gen_rpc_port:credit(Server),
            serve(Client, Server, Missing - length(Requests));
        {Port, flush} ->
            ok = gen_rpc_port:flush(Port),
            serve(Client, Server, Missing)
    after 10000 ->
        error({missing, Missing})
    end.

%% No request comes before the owner is ready for it.
nothing_before_activate(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = make_pair(#{}, #{}),
              ok = gen_rpc_port:call(Client, 1, infinity, tag(make_ref()), [<<"early">>]),
              wait(fun() -> maps:get(bytes_out, gen_rpc_port:info(Client)) > 0 end),
              receive Any -> error({unexpected, Any}) after 50 -> ok end,
              ok = gen_rpc_port:activate(Server),
              ?assertEqual({Server, requests, [{1, <<"early">>}]}, next()),
              close([Client, Server, Listener])
      end).

%% Only a few messages of requests wait for their owner; each credit brings another.
credit_bounds_what_is_delivered(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              [ok = gen_rpc_port:cast(Client, N, infinity, tag(make_ref()), [<<N:32>>])
               || N <- lists:seq(1, 10000)],
              ok = gen_rpc_port:flush(Client),
              First = requests_without_credit(Server),
              ?assert(length(First) =< 16, length(First)),
              [ok = gen_rpc_port:credit(Server) || _ <- First],
              {_, Rest} = take_requests(Server, 10000 - length(lists:append(First))),
              ?assertEqual([<<N:32>> || N <- lists:seq(1, 10000)],
                           [Body || {0, Body} <- lists:append(First) ++ Rest])
      end).

%% Until no more come.
requests_without_credit(Server) ->
    receive
        {Server, requests, Requests} -> [Requests | requests_without_credit(Server)];
        {Port, flush} -> ok = gen_rpc_port:flush(Port), requests_without_credit(Server)
    after 200 ->
        []
    end.

%% Over the output limit a submission is not taken; {Ref, ready} tells when to try again.
busy_and_ready(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = make_pair(#{output_limit => 100000}, #{}),
              Megabyte = rand:bytes(1000000),
              Ref = make_ref(),
              Sent = fill(Client, Ref, Megabyte, 0),
              ?assertMatch(#{waiting := 1, output := Output} when Output >= 100000,
                                                                  gen_rpc_port:info(Client)),
              %% Small messages wait in the same line, and a waiting one can be given up.
              Other = make_ref(),
              busy = gen_rpc_port:call(Client, 1000, infinity, tag(Other), [<<>>]),
              cancelled = gen_rpc_port:cancel(Client, 1000),
              ok = gen_rpc_port:activate(Server),
              {_, Requests} = take_requests(Server, Sent),
              ?assertEqual([{0, Megabyte}], lists:usort(Requests)),
              ?assertEqual({Ref, ready}, unflushed()),
              ?assertEqual(<<"x">>, round_trip(Client, Server, <<"x">>)),
              close([Client, Server, Listener])
      end).

%% Casts until the port is busy and the kernel takes no more; how many were sent.
fill(Client, Ref, Bytes, Sent) ->
    case gen_rpc_port:cast(Client, Sent + 1, infinity, tag(Ref), [Bytes]) of
        ok ->
            fill(Client, Ref, Bytes, Sent + 1);
        busy ->
            receive
                {Ref, ready} -> fill(Client, Ref, Bytes, Sent)
            after 1000 ->
                Sent
            end
    end.

%% A message over the limit of either side is refused before anything is sent; a reply over it is
%% replaced by a notice. The connection lives on.
too_big(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = make_pair(#{max_message_size => 100000},
                                                     #{max_message_size => 50000}),
              ok = gen_rpc_port:activate(Server),
              Request = rand:bytes(50001),
              Tag = tag(make_ref()),
              [?assertEqual({too_big, 50000}, Submit(Client, 1, infinity, Tag, [Request]))
               || Submit <- [fun gen_rpc_port:call/5, fun gen_rpc_port:cast/5]],
              Ref = make_ref(),
              ok = gen_rpc_port:call(Client, 1, infinity, tag(Ref), [<<"x">>]),
              {Server, requests, [{1, <<"x">>}]} = next(),
              ok = gen_rpc_port:credit(Server),
              ok = gen_rpc_port:reply(Server, 1, Tag, [Request]),
              ?assertEqual({Ref, {too_big, 50001, 50000}}, next()),
              Largest = rand:bytes(50000),
              ?assertEqual(Largest, round_trip(Client, Server, Largest)),
              close([Client, Server, Listener])
      end).

%% A call that is given up gets no message any more; its reply is counted as late.
cancel(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Ref = make_ref(),
              ok = gen_rpc_port:call(Client, 1, infinity, tag(Ref), [<<"x">>]),
              {Server, requests, [{1, <<"x">>}]} = next(),
              ok = gen_rpc_port:credit(Server),
              ?assertEqual(cancelled, gen_rpc_port:cancel(Client, 1)),
              ?assertEqual(answered, gen_rpc_port:cancel(Client, 1)),
              ok = gen_rpc_port:reply(Server, 1, tag(make_ref()), [<<"late">>]),
              none(Client, Server),
              ?assertMatch(#{late := 1, calls := 0}, gen_rpc_port:info(Client)),
              ok = gen_rpc_port:close(Client),
              ?assertEqual(closed, gen_rpc_port:cancel(Client, 1)),
              ?assertEqual({Server, down, closed}, next())
      end).

%% What info/1 counts is what happened.
info_counts(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Keys = [frames_in, frames_out, bytes_in, bytes_out],
              Before = maps:with(Keys, gen_rpc_port:info(Client)),
              [round_trip(Client, Server, <<"0123456789">>) || _ <- lists:seq(1, 10)],
              After = maps:with(Keys, gen_rpc_port:info(Client)),
              ?assertEqual(#{frames_in => 10, frames_out => 10, bytes_in => 260, bytes_out => 260},
                           maps:map(fun(Key, N) -> N - maps:get(Key, Before) end, After)),
              ok = gen_rpc_port:call(Client, 1, infinity, tag(make_ref()), [<<>>]),
              {Server, requests, _} = next(),
              ?assertMatch(#{calls := 1, served := 0}, gen_rpc_port:info(Client)),
              ?assertMatch(#{calls := 0, served := 1}, gen_rpc_port:info(Server)),
              ok = gen_rpc_port:credit(Server)
      end).

%%% Closing

%% Goodbye on an idle connection: each side hears {Port, bye} of the other, then both are down
%% without an error.
goodbye_when_idle(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              ok = gen_rpc_port:goodbye(Client, ?LONG, only_idle),
              Messages = [next() || _ <- [1, 2, 3, 4]],
              [?assertEqual([{Port, bye}, {Port, down, normal}],
                            [Message || Message <- Messages, element(1, Message) =:= Port])
               || Port <- [Client, Server]],
              ?assertEqual(down, gen_rpc_port:cast(Client, 1, infinity, tag(make_ref()), [<<>>]))
      end).

%% With a call under way the connection takes nothing new, but waits for the reply.
goodbye_lets_calls_end(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Ref = make_ref(),
              Tag = tag(make_ref()),
              ok = gen_rpc_port:call(Client, 1, infinity, tag(Ref), [<<"x">>]),
              {Server, requests, [{1, <<"x">>}]} = next(),
              ok = gen_rpc_port:credit(Server),
              ?assertEqual(busy, gen_rpc_port:goodbye(Client, ?LONG, only_idle)),
              ok = gen_rpc_port:goodbye(Client, ?LONG, always),
              ?assertEqual({Server, bye}, next()),
              ?assertEqual(closing, gen_rpc_port:call(Client, 2, infinity, Tag, [<<"y">>])),
              ?assertEqual(closing, gen_rpc_port:cast(Client, 2, infinity, Tag, [<<"y">>])),
              ok = gen_rpc_port:reply(Server, 1, Tag, [<<"reply">>]),
              ?assertEqual({Ref, <<"reply">>}, next_but(Server)),
              ?assertEqual({Client, bye}, next_but(Server)),
              ?assertEqual({Client, down, normal}, next_but(Server))
      end).

%% The time that calls are given begins with the goodbye, however long nothing happened before it;
%% when it is over the calls are lost.
goodbye_has_its_time(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Ref = make_ref(),
              ok = gen_rpc_port:call(Client, 1, infinity, tag(Ref), [<<"x">>]),
              {Server, requests, [{1, <<"x">>}]} = next(),
              ok = gen_rpc_port:credit(Server),
              timer:sleep(600), % nothing happens
              ok = gen_rpc_port:goodbye(Client, 500, always),
              receive
                  {Client, down, _} = Early -> error({unexpected, Early})
              after 100 ->
                  ok
              end,
              ?assertEqual({Client, down, close_timeout}, next_but(Server)),
              ok = gen_rpc_port:drain(Client),
              ?assertEqual({Ref, {lost, close_timeout}}, next_but(Server))
      end).

%% The server says goodbye: the client hears {Port, bye}, its calls end, then both are down.
goodbye_of_server(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Ref = make_ref(),
              ok = gen_rpc_port:call(Client, 1, infinity, tag(Ref), [<<"x">>]),
              {Server, requests, [{1, <<"x">>}]} = next(),
              ok = gen_rpc_port:credit(Server),
              ok = gen_rpc_port:goodbye(Server, ?LONG, always),
              ?assertEqual({Client, bye}, next_but(Server)),
              ?assertEqual(closing, gen_rpc_port:call(Client, 2, infinity, tag(Ref), [<<>>])),
              ok = gen_rpc_port:reply(Server, 1, tag(make_ref()), [<<"reply">>]),
              ?assertEqual({Ref, <<"reply">>}, next_but(Server)),
              ?assertEqual({Client, down, normal}, next_but(Server))
      end).

%% {Port, idle} comes once after idle_timeout without traffic, and again after more of that.
idle_is_told_once(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = make_pair(#{idle_timeout => 50}, #{}),
              ok = gen_rpc_port:activate(Server),
              [begin
                   ?assertEqual({Client, idle}, next()),
                   ?assertEqual(<<"x">>, round_trip(Client, Server, <<"x">>))
               end || _ <- [1, 2, 3]],
              close([Client, Server, Listener])
      end).

%%% Losing: everyone who waits is answered, `lost' if his request may have left, else `unsent'

%% When the port is closed under them.
closed_with_callers(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Sent = start_calls(Client, Server, 10),
              Unsent = start_unsent_calls(Client, 10),
              true = port_close(Client),
              ?assertEqual([{lost, closed}], lists:usort(gen_rpc_test_task:results(Sent))),
              ?assertEqual([{unsent, closed}], lists:usort(gen_rpc_test_task:results(Unsent))),
              ?assertEqual(closed, down(Server))
      end).

%% When its owner dies.
owner_dies_with_callers(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Owner = spawn(fun() -> receive after infinity -> ok end end),
              true = port_connect(Client, Owner),
              true = unlink(Client),
              Sent = start_calls(Client, Server, 10),
              exit(Owner, kill),
              ?assertEqual([{lost, closed}], lists:usort(gen_rpc_test_task:results(Sent))),
              wait(fun() -> erlang:port_info(Client) =:= undefined end)
      end).

%% When the peer is gone: after {Port, down, Reason} the owner answers them by drain/1.
lost_with_callers(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Sent = start_calls(Client, Server, 10),
              Unsent = start_unsent_calls(Client, 10),
              true = port_close(Server),
              ?assertEqual(closed, down(Client)),
              ?assertMatch(#{state := down, calls := 20}, gen_rpc_port:info(Client)),
              ok = gen_rpc_port:drain(Client),
              ?assertEqual([{lost, closed}], lists:usort(gen_rpc_test_task:results(Sent))),
              ?assertEqual([{unsent, closed}], lists:usort(gen_rpc_test_task:results(Unsent))),
              ?assertMatch(#{state := down, calls := 0}, gen_rpc_port:info(Client))
      end).

%% However many they are.
lost_with_thousands_of_callers(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Refs = [begin
                          Ref = make_ref(),
                          ok = gen_rpc_port:call(Client, Id, infinity, tag(Ref), [<<>>]),
                          Ref
                      end || Id <- lists:seq(1, 5000)],
              true = port_close(Server),
              Reason = down(Client),
              ok = gen_rpc_port:drain(Client),
              [receive {Ref, {Kind, Reason}} when Kind =:= lost; Kind =:= unsent -> ok
               after 0 -> error(not_answered)
               end || Ref <- Refs]
      end).

%% Calls whose requests have arrived: each waits for its answer.
start_calls(Client, Server, N) ->
    Calls = gen_rpc_test_task:start(N, fun(Id) -> call_and_wait(Client, Id) end),
    wait(fun() ->
                 ok = gen_rpc_port:flush(Client),
                 maps:get(served, gen_rpc_port:info(Server)) =:= N
         end),
    Calls.

%% Calls that wait for a flush that never comes. With others under way none is written at once.
start_unsent_calls(Client, N) ->
    #{calls := Before} = gen_rpc_port:info(Client),
    Calls = gen_rpc_test_task:start(N, fun(Id) -> call_and_wait(Client, 1000 + Id) end),
    wait(fun() -> maps:get(calls, gen_rpc_port:info(Client)) =:= Before + N end),
    ok = gen_rpc_test_ports:forget_messages(), % down/1 would answer the question for the flush
    Calls.

%% A port goes to another process as any port does: that one gets what the port has to say.
owner_changes(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Owner = gen_rpc_test_task:start(
                        fun() ->
                                receive {Server, requests, [{1, <<"x">>}]} -> ok end,
                                ok = gen_rpc_port:credit(Server),
                                ok = gen_rpc_port:reply(Server, 1, tag(make_ref()), [<<"y">>]),
                                receive {Server, down, Reason} -> Reason end
                        end),
              true = port_connect(Server, element(1, Owner)),
              true = unlink(Server),
              Ref = make_ref(),
              ok = gen_rpc_port:call(Client, 1, infinity, tag(Ref), [<<"x">>]),
              ?assertEqual({Ref, <<"y">>}, next()),
              ok = gen_rpc_port:close(Client),
              ?assertEqual(closed, gen_rpc_test_task:result(Owner))
      end).

%% A listener that closes leaves the connections that it accepted.
listener_closes(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = make_pair(#{}, #{}),
              ok = gen_rpc_port:close(Listener),
              ok = gen_rpc_port:activate(Server),
              ?assertEqual(<<"x">>, round_trip(Client, Server, <<"x">>)),
              close([Client, Server])
      end).

%%% Time

%% Not an assertion, because other programs share the machine: how often and how long a scheduler
%% was held by one of our ports while it did its largest pieces of work.
long_schedules(Config) ->
    on_node(
      Config,
      fun() ->
              Monitor = spawn(fun() -> count_long_schedules([]) end),
              Previous = erlang:system_monitor(Monitor, [{long_schedule, 50}]),
              {Listener, Client, Server} = make_pair(#{}, #{}),
              ok = gen_rpc_port:activate(Server),
              Large = rand:bytes(20000000),
              [Large = round_trip(Client, Server, Large) || _ <- lists:seq(1, 5)],
              [ok = gen_rpc_port:call(Client, Id, infinity, tag(make_ref()), [<<>>])
               || Id <- lists:seq(1, 20000)],
              ok = gen_rpc_port:close(Server),
              ok = gen_rpc_port:drain(Client),
              close([Client, Listener]),
              _ = erlang:system_monitor(Previous),
              Monitor ! {self(), tell},
              receive
                  {Monitor, Times} ->
                      {comment, io_lib:format("port callbacks over 50 ms: ~w", [Times])}
              end
      end).

count_long_schedules(Times) ->
    receive
        {monitor, Port, long_schedule, Info} when is_port(Port) ->
            count_long_schedules([proplists:get_value(timeout, Info) | Times]);
        {monitor, _Pid, long_schedule, _Info} ->
            count_long_schedules(Times);
        {From, tell} ->
            From ! {self(), Times}
    end.

%%% Helpers

%% Runs a case with two ports joined over loopback, the server's active.
with_pair(Config, Case) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = make_pair(#{}, #{}),
              ok = gen_rpc_port:activate(Server),
              _ = Case(Client, Server),
              close([Client, Server, Listener])
      end).
