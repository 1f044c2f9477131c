%% SPDX-License-Identifier: Apache-2.0
%% The driver by itself: its ports, commanded directly, in one VM that has no other part of the
%% application at work. What a port sends is exactly what the head of gen_rpc_port.erl says. Wrong
%% commands are in gen_rpc_nonsense_SUITE.
-module(gen_rpc_port_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1, init_per_group/2,
         end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([wrong_version/1, handshake_messages/1, over_ipv6/1, ipv4_over_ipv6/1, sizes_of_buffers/1,
         nobody_listens/1, address_in_use/1, refused_beyond_the_maximum/1, silent_peer/1,
         wrong_cookie/1,
         call_and_reply/1, one_caller_needs_no_flush/1, more_callers_are_flushed_together/1,
         casts_in_batches/1, large_messages/1, any_process_may_call/1,
         nothing_before_activate/1, credit_bounds_what_is_delivered/1,
         window_bounds_what_is_held/1, waiting_for_the_window/1, busy_and_ready/1,
         small_ones_do_not_wait_for_large_ones/1, too_big/1, info_counts/1,
         ordered_keep_their_order/1, asks_are_answered/1, taken_moves_the_window/1,
         taken_of_more_than_there_is/1, small_ones_pass_large_ones/1, large_ones_take_turns/1,
         large_replies_take_turns/1,
         cancel/1, cancel_is_told/1, cancel_of_what_was_not_started/1,
         cancel_of_what_was_not_sent/1,
         cancel_in_the_middle/1, cancel_of_an_ask/1,
         dead_caller_is_noticed/1, too_late_to_start/1,
         places_are_limited/1, places_are_of_the_node/1, places_of_the_cancelled/1,
         places_of_a_closed_port/1, lost_while_waiting_for_places/1,
         compressed_both_ways/1, compressed_from_a_threshold/1, not_compressible/1,
         compressed_with_a_context/1, many_compressed_at_once/1,
         goodbye_when_idle/1, goodbye_lets_calls_end/1, goodbye_has_its_time/1, goodbye_of_server/1,
         goodbye_with_large_messages/1, goodbye_behind_a_full_window/1, idle_is_told_once/1,
         closed_with_callers/1, owner_dies_with_callers/1, lost_with_callers/1,
         lost_with_thousands_of_callers/1, owner_changes/1, listener_closes/1,
         long_schedules/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).
-import(gen_rpc_test_ports, [settings/0, listen/1, close/1, tag/1, next/0,
                             unflushed/0, next_but/1, down/1, none/2, flush/1, round_trip/3,
                             take_requests/2]).

-define(LOOPBACK, {127, 0, 0, 1}).

%% Bytes that the peer may send of small requests and casts, and of ordered messages, until it hears
%% that some of them were started.
-define(WINDOW, 4 * 1024 * 1024).
-define(ORDERED_WINDOW, 1024 * 1024).

%% Messages of requests that wait for their owner's credit at most.
-define(CREDIT, 8).

%% More than any window or buffer takes.
-define(HUGE, 50000000).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, making}, {group, over_tcp}, {group, over_tls}, {group, losing}, long_schedules].

groups() ->
    [{making, [], [wrong_version, handshake_messages, over_ipv6, ipv4_over_ipv6, sizes_of_buffers,
                   nobody_listens, address_in_use, refused_beyond_the_maximum, silent_peer,
                   wrong_cookie]},
     {over_tcp, [], connected()},
     {over_tls, [], connected()},
     {messages, [], [call_and_reply, one_caller_needs_no_flush, more_callers_are_flushed_together,
                     casts_in_batches, large_messages, any_process_may_call,
                     nothing_before_activate, credit_bounds_what_is_delivered,
                     window_bounds_what_is_held, waiting_for_the_window, busy_and_ready,
                     small_ones_do_not_wait_for_large_ones, too_big, info_counts]},
     {lanes, [], [ordered_keep_their_order, asks_are_answered, taken_moves_the_window,
                  taken_of_more_than_there_is, small_ones_pass_large_ones, large_ones_take_turns,
                  large_replies_take_turns]},
     {giving_up, [], [cancel, cancel_is_told, cancel_of_what_was_not_started,
                      cancel_of_what_was_not_sent, cancel_in_the_middle, cancel_of_an_ask,
                      dead_caller_is_noticed, too_late_to_start]},
     {limiting, [], [places_are_limited, places_are_of_the_node, places_of_the_cancelled,
                     places_of_a_closed_port, lost_while_waiting_for_places]},
     {compressing, [], [compressed_both_ways, compressed_from_a_threshold, not_compressible,
                        compressed_with_a_context, many_compressed_at_once]},
     {closing, [], [goodbye_when_idle, goodbye_lets_calls_end, goodbye_has_its_time,
                    goodbye_of_server, goodbye_with_large_messages, goodbye_behind_a_full_window,
                    idle_is_told_once]},
     {losing, [], [closed_with_callers, owner_dies_with_callers, lost_with_callers,
                   lost_with_thousands_of_callers, owner_changes, listener_closes]}].

%% What happens between two ports that are connected, however they are.
connected() ->
    [{group, messages}, {group, lanes}, {group, giving_up}, {group, limiting},
     {group, compressing}, {group, closing}].

%% The node is another one than the test's: if the driver brings it down, only a test fails.
init_per_suite(Config) ->
    Node = gen_rpc_test_node:keep(gen_rpc_test_node:start([{tcp_server_port, false}])),
    ok = gen_rpc_test_ports:load_tls(Node, proplists:get_value(priv_dir, Config)),
    [{node, Node} | Config].

end_per_suite(Config) ->
    gen_rpc_test_node:stop(proplists:get_value(node, Config)).

init_per_group(over_tls, Config) ->
    ok = connect_over(tls, Config),
    Config;
init_per_group(_Group, Config) ->
    Config.

end_per_group(over_tls, Config) ->
    connect_over(tcp, Config);
end_per_group(_Group, _Config) ->
    ok.

connect_over(Transport, Config) ->
    run(proplists:get_value(node, Config),
        fun() -> persistent_term:put(?MODULE, Transport) end).

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
               || Rest <- ["", " ", " 3", " 40", " 4 ", " 4x", " four"]],
              Port = open_port({spawn_driver, "gen_rpc_drv 5"}, []),
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
              case gen_rpc_port:listen(Listener, {Loopback, 0}, #{max_connections => 10}) of
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

%% A socket of IPv6 takes connections over IPv4, with their addresses of IPv4, unless it must not.
ipv4_over_ipv6(Config) ->
    on_node(
      Config,
      fun() ->
              case [listen_on_ipv6(Only) || Only <- [false, true]] of
                  [{Both, {ok, BothNumber}}, {Only, {ok, OnlyNumber}}] ->
                      Socket = gen_rpc_test_stranger:connect(BothNumber),
                      {Both, accepted, Server, Address} = next(),
                      {ok, From} = inet:port(Socket),
                      ?assertEqual({?LOOPBACK, From}, gen_rpc_port:address(Address)),
                      ?assertEqual({error, econnrefused},
                                   gen_tcp:connect(?LOOPBACK, OnlyNumber, [])),
                      ok = gen_tcp:close(Socket),
                      close([Server, Both, Only]);
                  [{First, {error, Reason}}, {Second, _}] ->
                      close([First, Second]),
                      {skip, Reason}
              end
      end).

listen_on_ipv6(Only) ->
    Listener = gen_rpc_port:open(),
    {Listener, gen_rpc_port:listen(Listener, {{0, 0, 0, 0, 0, 0, 0, 0}, 0},
                                   #{max_connections => 10,
                                     socket => #{ipv6_only => Only, sndbuf => undefined,
                                                 recbuf => undefined}})}.

%% The kernel's buffers have the sizes that were asked for, on both sides, as with gen_tcp. The
%% driver's own has them within bounds, and is not there before the session is.
sizes_of_buffers(Config) ->
    on_node(
      Config,
      fun() ->
              Listener = gen_rpc_port:open(),
              Sizes = #{ipv6_only => false, sndbuf => 60000, recbuf => 70000},
              {ok, Number} = gen_rpc_port:listen(Listener, {?LOOPBACK, 0},
                                                 #{max_connections => 10, socket => Sizes}),
              Client = gen_rpc_port:open(),
              Settings = (settings())#{target => <<"server">>, socket_buffer => 20000,
                                       socket => Sizes#{sndbuf := 50000, recbuf := 40000}},
              ok = gen_rpc_port:connect(Client, {?LOOPBACK, Number}, ?LONG, Settings),
              {Listener, accepted, Server, _} = next(),
              ?assertMatch(#{socket_buffer := 0}, gen_rpc_port:info(Server)),
              ok = gen_rpc_port:handshake(Server, (settings())#{socket_buffer => 1000000}),
              [_, _] = [{_, up, _, _} = unflushed() || _ <- [1, 2]],
              ?assertEqual(kernel_sizes(50000, 40000) ++ [20000], sizes(Client)),
              ?assertEqual(kernel_sizes(60000, 70000) ++ [65536], sizes(Server)),
              close([Client, Server, Listener])
      end).

kernel_sizes(SndBuf, RecBuf) ->
    {ok, Socket} = gen_tcp:listen(0, [{sndbuf, SndBuf}, {recbuf, RecBuf}]),
    {ok, Sizes} = inet:getopts(Socket, [sndbuf, recbuf]),
    ok = gen_tcp:close(Socket),
    [Size || {_, Size} <- Sizes].

sizes(Port) ->
    #{socket_sndbuf := SndBuf, socket_recbuf := RecBuf, socket_buffer := Buffer} =
        gen_rpc_port:info(Port),
    [SndBuf, RecBuf, Buffer].

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
                           gen_rpc_port:listen(Second, {?LOOPBACK, Number},
                                               #{max_connections => 10})),
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

%% Only a few messages of requests wait for their owner; each credit brings another. The port reads
%% on and keeps the rest.
credit_bounds_what_is_delivered(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              [ok = gen_rpc_port:cast(Client, N, infinity, tag(make_ref()), [<<N:32>>])
               || N <- lists:seq(1, 10000)],
              ok = gen_rpc_port:flush(Client),
              First = requests_without_credit(Server),
              ?assert(length(First) =< ?CREDIT, length(First)),
              Left = 10000 - length(lists:append(First)),
              wait(fun() -> maps:get(held, gen_rpc_port:info(Server)) =:= 4 * Left end),
              [ok = gen_rpc_port:credit(Server) || _ <- First],
              {_, Rest} = take_requests(Server, Left),
              ?assertEqual([<<N:32>> || N <- lists:seq(1, 10000)],
                           [Body || {0, Body} <- lists:append(First) ++ Rest]),
              ?assertMatch(#{held := 0}, gen_rpc_port:info(Server))
      end).

%% A server that gives no credit is sent no more than a window, then the client's submitters wait.
%% Everything else passes meanwhile: cancels, and replies to what was started before.
window_bounds_what_is_held(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{output_limit => 100000},
                                                       #{tell_cancels => true}),
              Replied = start_call(Client, Server, 1),
              GivenUp = start_call(Client, Server, 2),
              Ref = make_ref(),
              {Casts, First} = fill_window(Client, Server, Ref),
              Started = [Body || {0, Body} <- lists:append(First)],
              #{held := Held} = gen_rpc_port:info(Server),
              ?assert(Held =< ?WINDOW, Held),
              ?assert(Casts * 1000 =< ?WINDOW + 100000 + 1000 * (length(Started) + 1), Casts),
              ?assertMatch(#{waiting := 1, output := Output, blocked := Blocked, calls := 2}
                             when Output > 50000 andalso Blocked >= 1,
                                  gen_rpc_port:info(Client)),
              ok = gen_rpc_port:reply(Server, 1, tag(make_ref()), [<<"reply">>]),
              ?assertEqual({Replied, <<"reply">>}, unflushed()),
              cancelled = gen_rpc_port:cancel(Client, 2),
              ?assertEqual({Server, cancel, 2}, unflushed()),
              [ok = gen_rpc_port:credit(Server) || _ <- First],
              {_, Rest} = take_requests(Server, Casts - length(Started)),
              ?assert(numbered(Casts) =:= Started ++ [Body || {0, Body} <- Rest]),
              ?assertEqual({Ref, ready}, unflushed()),
              none(Client, Server),
              ?assertMatch(#{held := 0, served := 0, cancels_in := 1}, gen_rpc_port:info(Server)),
              ?assertMatch(#{waiting := 0, output := 0, calls := 0, late := 0},
                           gen_rpc_port:info(Client)),
              receive {GivenUp, Any} -> error({unexpected, Any}) after 0 -> ok end,
              close([Client, Server, Listener])
      end).

%% However long that takes: whoever waits for the window is not stalled as long as the peer lives.
waiting_for_the_window(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} =
                  active_pair(#{output_limit => 100000, send_timeout => 200}, #{}),
              Ref = make_ref(),
              {Casts, First} = fill_window(Client, Server, Ref),
              #{frames_in := Frames} = gen_rpc_port:info(Client),
              %% Pongs: half of the send_timeout, and the answer, several times over.
              wait(fun() -> maps:get(frames_in, gen_rpc_port:info(Client)) >= Frames + 5 end),
              ?assertMatch(#{state := open, waiting := 1}, gen_rpc_port:info(Client)),
              [ok = gen_rpc_port:credit(Server) || _ <- First],
              _ = take_requests(Server, Casts - length(lists:append(First))),
              ?assertEqual({Ref, ready}, unflushed()),
              ?assertMatch(#{blocked_ms := Ms} when Ms >= 400, gen_rpc_port:info(Client)),
              none(Client, Server),
              close([Client, Server, Listener])
      end).

%% Casts of 1000 bytes each until the window is used and the client takes no more: how many, and the
%% messages of requests that came.
fill_window(Client, Server, Ref) ->
    Casts = fill_window(Client, Server, Ref, 0),
    {Casts, requests_without_credit(Server)}.

fill_window(Client, Server, Ref, Sent) ->
    case gen_rpc_port:cast(Client, 1000 + Sent, infinity, tag(Ref), [number(Sent)]) of
        ok ->
            fill_window(Client, Server, Ref, Sent + 1);
        busy ->
            case is_ready(Client, Server, Ref) of
                true -> fill_window(Client, Server, Ref, Sent);
                false -> Sent
            end
    end.

%% Not, if nothing moves any more.
is_ready(Client, Server, Ref) ->
    #{held := Held} = gen_rpc_port:info(Server),
    receive
        {Ref, ready} -> true;
        {Client, flush} -> ok = gen_rpc_port:flush(Client), is_ready(Client, Server, Ref)
    after 100 ->
        case gen_rpc_port:info(Server) of
            #{held := Held} when Held > ?WINDOW div 2 -> false;
            #{} -> is_ready(Client, Server, Ref)
        end
    end.

number(N) ->
    <<N:8000>>.

numbered(N) ->
    [number(I) || I <- lists:seq(0, N - 1)].

%% A call that was delivered and not replied to; the reference of its answer.
start_call(Client, Server, Id) ->
    Ref = make_ref(),
    ok = gen_rpc_port:call(Client, Id, infinity, tag(Ref), [<<"x">>]),
    {Server, requests, [{Id, <<"x">>}]} = unflushed(),
    ok = gen_rpc_port:credit(Server),
    Ref.

%% Nothing more is delivered until credit is given back.
use_credit(Client, Server) ->
    lists:foreach(fun(_) ->
                          ok = gen_rpc_port:cast(Client, 1, infinity, <<>>, [<<"credit">>]),
                          ok = gen_rpc_port:flush(Client),
                          {Server, requests, [{0, <<"credit">>}]} = unflushed()
                  end, lists:seq(1, ?CREDIT)).

give_credit(Server) ->
    lists:foreach(fun(_) -> ok = gen_rpc_port:credit(Server) end, lists:seq(1, ?CREDIT)).

%% Until no more come.
requests_without_credit(Server) ->
    receive
        {Server, requests, Requests} -> [Requests | requests_without_credit(Server)];
        {Port, flush} -> ok = gen_rpc_port:flush(Port), requests_without_credit(Server)
    after 200 ->
        []
    end.

%% Over the output limit a submission is not taken; {Ref, ready} tells when to try again. Who waits
%% can give up.
busy_and_ready(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{output_limit => 100000},
                                                       #{max_message_size => 5000000}),
              ok = use_credit(Client, Server),
              Megabyte = rand:bytes(1000000),
              Ref = make_ref(),
              Sent = fill(Client, Ref, Megabyte, 0),
              ?assertMatch(#{waiting := 1, output := Output} when Output >= 100000,
                                                                  gen_rpc_port:info(Client)),
              %% The server puts together no more at once than one message of the largest size.
              ?assertMatch(#{held := Held} when Held =< 5000000, gen_rpc_port:info(Server)),
              %% Another one waits behind him.
              Other = make_ref(),
              busy = gen_rpc_port:cast(Client, 1000, infinity, tag(Other), [Megabyte]),
              ?assertMatch(#{waiting := 2}, gen_rpc_port:info(Client)),
              cancelled = gen_rpc_port:cancel(Client, 1000),
              ?assertMatch(#{waiting := 1}, gen_rpc_port:info(Client)),
              ok = give_credit(Server),
              {_, Requests} = take_requests(Server, Sent),
              ?assertEqual([{0, Megabyte}], lists:usort(Requests)),
              ?assertEqual({Ref, ready}, unflushed()),
              ?assertEqual(<<"x">>, round_trip(Client, Server, <<"x">>)),
              none(Client, Server),
              close([Client, Server, Listener])
      end).

%% What waits for room on one lane keeps none off another one: large casts, ordered ones, small
%% ones.
small_ones_do_not_wait_for_large_ones(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{output_limit => 100000},
                                                       #{max_message_size => 5000000}),
              ok = use_credit(Client, Server),
              Megabyte = rand:bytes(1000000),
              [Large, Ordered] = [make_ref(), make_ref()],
              {Sent, InOrder} = fill_both(Client, Large, Ordered, Megabyte),
              Small = make_ref(),
              ok = gen_rpc_port:call(Client, 1000000, infinity, tag(Small), [<<"small">>]),
              ok = give_credit(Server),
              Requests = take_all(Server, Sent + InOrder + 1),
              ?assertEqual([{0, <<0:8000>>, ordered}], lists:usort(ordered(Requests))),
              ?assertEqual([{0, Megabyte}, {1000000, <<"small">>}],
                           lists:usort(Requests -- ordered(Requests))),
              ?assertEqual(lists:sort([{Large, ready}, {Ordered, ready}]),
                           lists:sort([unflushed(), unflushed()])),
              close([Client, Server, Listener])
      end).

%% Until both wait at once: the system may find more room while the second lane is filled.
fill_both(Client, Large, Ordered, Bytes) ->
    Sent = fill(Client, Large, Bytes, 0),
    fill_both(Client, Large, Ordered, Bytes, Sent, fill_ordered(Client, Ordered, 0)).

fill_both(Client, Large, Ordered, Bytes, Sent, InOrder) ->
    case gen_rpc_port:info(Client) of
        #{waiting := 2} ->
            {Sent, InOrder};
        #{} ->
            case unflushed() of
                {Large, ready} ->
                    More = fill(Client, Large, Bytes, Sent),
                    fill_both(Client, Large, Ordered, Bytes, More, InOrder);
                {Ordered, ready} ->
                    More = fill_ordered(Client, Ordered, InOrder),
                    fill_both(Client, Large, Ordered, Bytes, Sent, More)
            end
    end.

fill_ordered(Client, Ref, Sent) ->
    case gen_rpc_port:ordered(Client, 2000000 + Sent, infinity, tag(Ref), [<<0:8000>>]) of
        ok ->
            fill_ordered(Client, Ref, Sent + 1);
        busy ->
            fill_when_ready(fun() -> fill_ordered(Client, Ref, Sent) end, Client, Ref, Sent)
    end.

%% Casts until the port is busy and nothing moves any more; how many were sent.
fill(Client, Ref, Bytes, Sent) ->
    case gen_rpc_port:cast(Client, Sent + 1, infinity, tag(Ref), [Bytes]) of
        ok -> fill(Client, Ref, Bytes, Sent + 1);
        busy -> fill_when_ready(fun() -> fill(Client, Ref, Bytes, Sent) end, Client, Ref, Sent)
    end.

fill_when_ready(Fill, Client, Ref, Sent) ->
    receive
        {Ref, ready} -> Fill();
        {Client, flush} -> ok = gen_rpc_port:flush(Client), fill_when_ready(Fill, Client, Ref, Sent)
    after 1000 ->
        Sent
    end.

%% A message over the limit of either side is refused before anything is sent; a reply over it is
%% replaced by a notice. The connection lives on.
too_big(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{max_message_size => 100000},
                                                       #{max_message_size => 50000}),
              Request = rand:bytes(50001),
              Tag = tag(make_ref()),
              [?assertEqual({too_big, 50000}, Submit(Client, 1, infinity, Tag, [Request]))
               || Submit <- [fun gen_rpc_port:call/5, fun gen_rpc_port:cast/5,
                             fun gen_rpc_port:ordered/5, fun gen_rpc_port:broadcast/5,
                             fun gen_rpc_port:ask/5]],
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
              Nothing = [waiting, output, late, held, too_late, cancels_in, cancels_out, aborted,
                         blocked, blocked_ms, deflate_in, deflate_out],
              [?assertEqual([{Key, 0} || Key <- Nothing],
                            [{Key, maps:get(Key, gen_rpc_port:info(Port))} || Key <- Nothing])
               || Port <- [Client, Server]],
              ok = gen_rpc_port:credit(Server)
      end).

%%% Lanes

%% Ordered casts and broadcasts come in the order of their submission, whatever their sizes, in one
%% piece or in many, and whatever is sent beside them.
ordered_keep_their_order(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{output_limit => ?HUGE}, #{}),
              Sizes = [0, 1, 100, 16367, 16368, 16369, 16383, 16384, 16385, 65536, 70000, 300000,
                       2000000],
              Sent = [{Order, rand:bytes(Size)} || _ <- [1, 2, 3], Size <- Sizes,
                                                   Order <- [ordered, broadcast, ordered]],
              [begin
                   Submit = fun gen_rpc_port:Order/5,
                   ok = Submit(Client, 1, infinity, <<>>, parts(Body)),
                   ok = gen_rpc_port:cast(Client, 1, infinity, <<>>, [Body])
               end || {Order, Body} <- Sent],
              Requests = take_all(Server, 2 * length(Sent)),
              ?assert([{0, Body, Order} || {Order, Body} <- Sent] =:= ordered(Requests)),
              ?assert(lists:sort([{0, Body} || {_, Body} <- Sent]) =:=
                          lists:sort(Requests -- ordered(Requests))),
              none(Client, Server),
              close([Client, Server, Listener])
      end).

parts(Bytes) ->
    Size = byte_size(Bytes),
    [binary:part(Bytes, {At, min(9999, Size - At)}) || At <- lists:seq(0, Size - 1, 9999)].

%% An ask comes in the order of the broadcasts, and is answered as a call is.
asks_are_answered(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Asks = [{Id, make_ref(), rand:bytes(Size)}
                      || {Id, Size} <- [{1, 0}, {2, 10}, {3, 16384}, {4, 16385}, {5, 1000000}]],
              [begin
                   ok = gen_rpc_port:broadcast(Client, 1, infinity, <<>>, [<<Id:32>>]),
                   ok = gen_rpc_port:ask(Client, Id, ?LONG, tag(Ref), [Body])
               end || {Id, Ref, Body} <- Asks],
              ?assertMatch(#{calls := 5}, gen_rpc_port:info(Client)),
              Expected = lists:append([[{0, <<Id:32>>, broadcast}, {Id, Body, broadcast}]
                                       || {Id, _, Body} <- Asks]),
              ?assert(Expected =:= take_all(Server, 10)),
              ?assertMatch(#{served := 5}, gen_rpc_port:info(Server)),
              [begin
                   ok = gen_rpc_port:reply(Server, Id, tag(make_ref()), [Body]),
                   ok = gen_rpc_port:flush(Server),
                   ?assert({Ref, Body} =:= unflushed())
               end || {Id, Ref, Body} <- lists:reverse(Asks)],
              none(Client, Server),
              %% And is lost as one.
              Lost = make_ref(),
              ok = gen_rpc_port:ask(Client, 6, infinity, tag(Lost), [<<"x">>]),
              [{6, <<"x">>, broadcast}] = take_all(Server, 1),
              ok = gen_rpc_port:close(Client),
              ?assertEqual({Lost, {lost, closed}}, next_but(Server))
      end).

%% Of ordered messages no more come than a window, until the runner takes some up. Others pass them.
taken_moves_the_window(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              ok = send_in_order(Client, 3000),
              First = untaken(Server),
              ?assert(length(First) * 1000 =< ?ORDERED_WINDOW + 1000, length(First)),
              none(Client, Server),
              Left = 1000 * (3000 - length(First)),
              ?assertMatch(#{output := Output} when Output >= Left, gen_rpc_port:info(Client)),
              Half = length(First) div 2,
              ok = gen_rpc_port:taken(Server, Half, Half * 1000),
              More = untaken(Server),
              ?assert(More =/= []),
              Untaken = length(First) - Half + length(More),
              ?assert(Untaken * 1000 =< ?ORDERED_WINDOW + 1000, Untaken),
              ok = gen_rpc_port:taken(Server, Untaken, Untaken * 1000),
              Rest = take_all(Server, 3000 - length(First) - length(More)),
              ?assert(numbered(3000) =:= [Body || {0, Body, ordered} <- First ++ More ++ Rest]),
              none(Client, Server)
      end).

%% A runner that says to have taken what it never got does not move the window any further.
taken_of_more_than_there_is(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              [begin
                   ok = gen_rpc_port:taken(Server, 16#FFFFFFFF, 16#FFFFFFFFFFFFFFFF),
                   ok = send_in_order(Client, 1500),
                   First = untaken(Server),
                   ?assert(length(First) * 1000 =< ?ORDERED_WINDOW + 1000, length(First)),
                   ok = gen_rpc_port:taken(Server, 16#FFFFFFFF, 16#FFFFFFFFFFFFFFFF),
                   Rest = take_all(Server, 1500 - length(First)),
                   ?assert(numbered(1500) =:= [Body || {0, Body, ordered} <- First ++ Rest])
               end || _ <- [1, 2, 3]],
              none(Client, Server)
      end).

%% 1000 bytes each.
send_in_order(Client, N) ->
    [ok = gen_rpc_port:ordered(Client, 1, infinity, <<>>, [Body]) || Body <- numbered(N)],
    gen_rpc_port:flush(Client).

%% What comes while nothing is taken up, until no more does.
untaken(Server) ->
    receive
        {Server, requests, Requests} ->
            ok = gen_rpc_port:credit(Server),
            Requests ++ untaken(Server);
        {Port, flush} ->
            ok = gen_rpc_port:flush(Port),
            untaken(Server)
    after 200 ->
        []
    end.

%% So many requests, and all of them are taken up.
take_all(_Server, 0) ->
    [];
take_all(Server, Missing) ->
    receive
        {Server, requests, Requests} ->
            Bodies = [Body || {_, Body, _} <- Requests],
            ok = gen_rpc_port:taken(Server, length(Bodies), iolist_size(Bodies)),
            ok = gen_rpc_port:credit(Server),
            Requests ++ take_all(Server, Missing - length(Requests));
        {Port, flush} ->
            ok = gen_rpc_port:flush(Port),
            take_all(Server, Missing)
    after 10000 ->
        error({missing, Missing})
    end.

ordered(Requests) ->
    [Request || {_, _, _} = Request <- Requests].

%% A small call, an ordered one and another large one overtake the large one that was before them:
%% it takes turns with them.
small_ones_pass_large_ones(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Large = rand:bytes(?HUGE),
              [Ref, Ask] = [make_ref(), make_ref()],
              ok = gen_rpc_port:cast(Client, 1, infinity, <<>>, [Large]),
              ok = gen_rpc_port:call(Client, 2, infinity, tag(Ref), [<<"small">>]),
              ok = gen_rpc_port:ask(Client, 3, infinity, tag(Ask), [<<"in order">>]),
              Requests = take_all(Server, 3),
              ?assert({0, Large} =:= lists:last(Requests)),
              ?assertEqual([{2, <<"small">>}, {3, <<"in order">>, broadcast}],
                           lists:sort(lists:droplast(Requests))),
              none(Client, Server)
      end).

large_ones_take_turns(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Sizes = [?HUGE, 100000, 1000000],
              [Largest | _] = Larges = [rand:bytes(Size) || Size <- Sizes],
              [ok = gen_rpc_port:call(Client, Id, infinity, tag(make_ref()), [Large])
               || {Id, Large} <- lists:zip([1, 2, 3], Larges)],
              Bodies = [Body || {_, Body} <- take_all(Server, 3)],
              ?assert(lists:sort(Larges) =:= lists:sort(Bodies)),
              ?assert(Largest =:= lists:last(Bodies)),
              none(Client, Server)
      end).

%% The same for replies.
large_replies_take_turns(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Replies = [{Id, make_ref(), rand:bytes(Size)}
                         || {Id, Size} <- [{1, ?HUGE}, {2, 1000000}, {3, 10}]],
              [ok = gen_rpc_port:call(Client, Id, infinity, tag(Ref), [<<"x">>])
               || {Id, Ref, _} <- Replies],
              _ = take_all(Server, 3),
              [ok = gen_rpc_port:reply(Server, Id, tag(make_ref()), [Body])
               || {Id, _, Body} <- Replies],
              ok = gen_rpc_port:flush(Server),
              Answers = [unflushed() || _ <- Replies],
              ?assert(lists:sort([{Ref, Body} || {_, Ref, Body} <- Replies]) =:=
                          lists:sort(Answers)),
              ?assert(element(2, hd(Replies)) =:= element(1, lists:last(Answers))),
              none(Client, Server)
      end).

%%% Giving up

%% A call that is given up gets no message any more. A reply that was under way then is counted.
cancel(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              _ = start_call(Client, Server, 1),
              ?assertEqual(cancelled, gen_rpc_port:cancel(Client, 1)),
              ?assertEqual(answered, gen_rpc_port:cancel(Client, 1)),
              %% The server hears of it with the next flush.
              ok = gen_rpc_port:reply(Server, 1, tag(make_ref()), [<<"late">>]),
              wait(fun() -> maps:get(late, gen_rpc_port:info(Client)) =:= 1 end),
              none(Client, Server),
              ?assertMatch(#{late := 1, calls := 0, cancels_out := 1}, gen_rpc_port:info(Client)),
              ?assertMatch(#{served := 0, cancels_in := 0}, gen_rpc_port:info(Server)),
              ok = gen_rpc_port:close(Client),
              ?assertEqual(closed, gen_rpc_port:cancel(Client, 1)),
              ?assertEqual({Server, down, closed}, next())
      end).

%% The server hears that nobody waits any more, and its owner if he wants to. A reply is for nobody
%% then, and is not sent.
cancel_is_told(Config) ->
    on_node(
      Config,
      fun() ->
              [begin
                   {Listener, Client, Server} = active_pair(#{}, #{tell_cancels => Tell}),
                   _ = start_call(Client, Server, 1),
                   cancelled = gen_rpc_port:cancel(Client, 1),
                   ok = flush([Client]),
                   wait(fun() -> maps:get(cancels_in, gen_rpc_port:info(Server)) =:= 1 end),
                   _ = Tell andalso ?assertEqual({Server, cancel, 1}, next()),
                   ?assertMatch(#{served := 0}, gen_rpc_port:info(Server)),
                   ok = gen_rpc_port:reply(Server, 1, tag(make_ref()), [<<"for nobody">>]),
                   none(Client, Server),
                   ?assertMatch(#{calls := 0, late := 0, cancels_out := 1},
                                gen_rpc_port:info(Client)),
                   close([Client, Server, Listener]),
                   ok = gen_rpc_test_ports:forget_messages()
               end || Tell <- [true, false]]
      end).

%% What is given up before it was delivered never is, and nobody hears of it.
cancel_of_what_was_not_started(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{}, #{tell_cancels => true}),
              ok = use_credit(Client, Server),
              [ok = gen_rpc_port:call(Client, Id, infinity, tag(make_ref()), [<<"x">>])
               || Id <- [1, 2]],
              ok = flush([Client]),
              wait(fun() -> maps:get(served, gen_rpc_port:info(Server)) =:= 2 end),
              cancelled = gen_rpc_port:cancel(Client, 1),
              ok = flush([Client]),
              wait(fun() -> maps:get(cancels_in, gen_rpc_port:info(Server)) =:= 1 end),
              ok = give_credit(Server),
              ?assertEqual([{2, <<"x">>}], take_all(Server, 1)),
              %% The same when it comes together with its request.
              ok = gen_rpc_port:call(Client, 3, infinity, tag(make_ref()), [<<"x">>]),
              cancelled = gen_rpc_port:cancel(Client, 3),
              none(Client, Server),
              ?assertMatch(#{served := 1, cancels_in := 2, held := 0}, gen_rpc_port:info(Server)),
              close([Client, Server, Listener])
      end).

%% A large call that still waits for its turn is not sent at all.
cancel_of_what_was_not_sent(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{}, #{max_message_size => 5000000}),
              ok = use_credit(Client, Server),
              Megabyte = rand:bytes(1000000),
              [ok = gen_rpc_port:call(Client, Id, infinity, tag(make_ref()), [Megabyte])
               || Id <- lists:seq(1, 6)],
              ok = flush([Client]),
              %% No more than the server's limit is under way.
              wait(fun() ->
                           ok = flush([Client, Server]),
                           maps:get(held, gen_rpc_port:info(Server)) =:= 5000000
                   end),
              cancelled = gen_rpc_port:cancel(Client, 6),
              ?assertMatch(#{calls := 5, output := 0, cancels_out := 0, aborted := 0},
                           gen_rpc_port:info(Client)),
              ok = give_credit(Server),
              {_, Requests} = take_requests(Server, 5),
              ?assertEqual([1, 2, 3, 4, 5], lists:sort([Id || {Id, _} <- Requests])),
              none(Client, Server),
              ?assertMatch(#{served := 5, cancels_in := 0, aborted := 0},
                           gen_rpc_port:info(Server)),
              close([Client, Server, Listener])
      end).

%% A large message that is under way, either way, goes no further.
cancel_in_the_middle(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              Large = rand:bytes(?HUGE),
              ok = gen_rpc_port:call(Client, 1, infinity, tag(make_ref()), [Large]),
              ok = begin_to_send(Client, ?HUGE),
              cancelled = gen_rpc_port:cancel(Client, 1),
              wait(fun() ->
                           ok = flush([Client, Server]),
                           maps:get(aborted, gen_rpc_port:info(Server)) =:= 1
                   end),
              ?assertMatch(#{calls := 0, aborted := 1, cancels_out := 0},
                           gen_rpc_port:info(Client)),
              none(Client, Server),
              ?assertMatch(#{bytes_in := In} when In < ?HUGE, gen_rpc_port:info(Server)),
              _ = start_call(Client, Server, 2),
              ok = gen_rpc_port:reply(Server, 2, tag(make_ref()), [Large]),
              ok = begin_to_send(Server, ?HUGE),
              cancelled = gen_rpc_port:cancel(Client, 2),
              %% All of it, if it was faster than the cancel.
              wait(fun() ->
                           ok = flush([Client, Server]),
                           #{aborted := Aborted, late := Late} = gen_rpc_port:info(Client),
                           Aborted + Late =:= 2
                   end),
              none(Client, Server),
              ?assertMatch(#{calls := 0, output := 0}, gen_rpc_port:info(Client)),
              ?assertMatch(#{served := 0, output := 0}, gen_rpc_port:info(Server))
      end).

%% The same for an ask: told if it was delivered, not sent if it still waits for the window. One
%% that is given up in the middle leaves the window as it was.
cancel_of_an_ask(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{}, #{tell_cancels => true}),
              ok = gen_rpc_port:ask(Client, 1, infinity, tag(make_ref()), [<<"x">>]),
              [{1, <<"x">>, broadcast}] = take_all(Server, 1),
              cancelled = gen_rpc_port:cancel(Client, 1),
              ?assertEqual({Server, cancel, 1}, unflushed()),
              Large = rand:bytes(?HUGE),
              [begin
                   ok = gen_rpc_port:ask(Client, Id, infinity, tag(make_ref()), [Large]),
                   ok = begin_to_send(Client, ?HUGE),
                   cancelled = gen_rpc_port:cancel(Client, Id)
               end || Id <- [2, 3, 4]],
              wait(fun() ->
                           ok = flush([Client, Server]),
                           maps:get(aborted, gen_rpc_port:info(Server)) =:= 3
                   end),
              ok = send_in_order(Client, 1500),
              First = untaken(Server),
              ok = gen_rpc_port:ask(Client, 5, infinity, tag(make_ref()), [<<"y">>]),
              cancelled = gen_rpc_port:cancel(Client, 5),
              ?assertMatch(#{cancels_out := 1, aborted := 3, calls := 0},
                           gen_rpc_port:info(Client)),
              ok = gen_rpc_port:taken(Server, length(First), 1000 * length(First)),
              Rest = take_all(Server, 1500 - length(First)),
              ?assert(numbered(1500) =:= [Body || {0, Body, ordered} <- First ++ Rest]),
              none(Client, Server),
              ?assertMatch(#{served := 0, cancels_in := 1}, gen_rpc_port:info(Server)),
              close([Client, Server, Listener])
      end).

%% A message of that size, and no other.
begin_to_send(Port, Size) ->
    ok = gen_rpc_port:flush(Port),
    case gen_rpc_port:info(Port) of
        #{output := Output} when Output >= Size -> begin_to_send(Port, Size);
        #{} -> ok
    end.

%% A caller that dies without a word is noticed after a while, and so is one that waits for room.
%% Those who live are not.
dead_caller_is_noticed(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{output_limit => 1000},
                                                       #{tell_cancels => true}),
              Mine = start_call(Client, Server, 1),
              Caller = spawn(fun() -> call_and_wait(Client, 2) end),
              {Server, requests, [{2, _}]} = unflushed(),
              ok = gen_rpc_port:credit(Server),
              ok = fill_unwritten(Client, 3),
              Waiter = spawn(fun() ->
                                     busy = gen_rpc_port:cast(Client, 4, infinity, tag(x), [<<>>]),
                                     receive after infinity -> ok end
                             end),
              wait(fun() -> maps:get(waiting, gen_rpc_port:info(Client)) =:= 1 end),
              [exit(Pid, kill) || Pid <- [Caller, Waiter]],
              wait(fun() ->
                           #{calls := Calls, waiting := Waiting} = gen_rpc_port:info(Client),
                           {Calls, Waiting} =:= {1, 0}
                   end),
              Casts = take_until_cancel(Server),
              ?assertEqual([{0, <<0:800>>}], lists:usort(Casts)),
              ok = gen_rpc_port:reply(Server, 1, tag(make_ref()), [<<"reply">>]),
              ?assertEqual({Mine, <<"reply">>}, unflushed()),
              none(Client, Server),
              ?assertMatch(#{cancels_out := 1, late := 0}, gen_rpc_port:info(Client)),
              close([Client, Server, Listener])
      end).

%% Nothing is written before a flush.
fill_unwritten(Client, Id) ->
    case gen_rpc_port:cast(Client, Id, infinity, <<>>, [<<0:800>>]) of
        ok -> fill_unwritten(Client, Id);
        busy -> ok
    end.

take_until_cancel(Server) ->
    case unflushed() of
        {Server, requests, Requests} ->
            ok = gen_rpc_port:credit(Server),
            Requests ++ take_until_cancel(Server);
        {Server, cancel, 2} ->
            []
    end.

%% A request that could not be delivered before its caller's time was up is not delivered any more.
%% Casts and calls without a limit are.
too_late_to_start(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{}, #{max_running => 1}),
              ok = gen_rpc_port:call(Client, 1, ?LONG, tag(make_ref()), [<<"first">>]),
              [{1, <<"first">>}] = take_all(Server, 1),
              [ok = gen_rpc_port:call(Client, Id, Time, tag(make_ref()), [Body])
               || {Id, Time, Body} <- [{2, 50, <<"hasty">>}, {3, infinity, <<"patient">>},
                                       {4, 50, <<"hasty">>}, {5, ?LONG, <<"patient">>}]],
              ok = gen_rpc_port:cast(Client, 6, 50, <<>>, [<<"cast">>]),
              ok = flush([Client]),
              wait(fun() -> maps:get(served, gen_rpc_port:info(Server)) =:= 5 end),
              timer:sleep(150), % their time is up
              Delivered = [begin
                               ok = gen_rpc_port:ended(Server, 1),
                               hd(take_all(Server, 1))
                           end || _ <- [3, 5, 0]],
              ?assertEqual([{3, <<"patient">>}, {5, <<"patient">>}, {0, <<"cast">>}], Delivered),
              ok = gen_rpc_port:ended(Server, 1),
              ?assertMatch(#{too_late := 2, served := 3, held := 0}, gen_rpc_port:info(Server)),
              none(Client, Server),
              close([Client, Server, Listener])
      end).

%%% Limits of workers

%% No more are delivered than there are places. Each worker that ends makes room for one, and none
%% can end twice. What is ordered takes no place.
places_are_limited(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{}, #{max_running => 3}),
              [begin
                   ok = Submit(Client, 10),
                   First = take_all(Server, 3),
                   wait(fun() -> maps:get(held, gen_rpc_port:info(Server)) =:= 7 end),
                   ok = nothing_is_delivered(Server),
                   ok = gen_rpc_port:ended(Server, 2),
                   Second = take_all(Server, 2),
                   ?assertMatch(#{held := 5}, gen_rpc_port:info(Server)),
                   ok = nothing_is_delivered(Server),
                   ok = gen_rpc_port:ended(Server, 16#FFFFFFFF),
                   Third = take_all(Server, 3),
                   ?assertMatch(#{held := 2}, gen_rpc_port:info(Server)),
                   ok = nothing_is_delivered(Server),
                   ok = gen_rpc_port:ended(Server, 3),
                   Fourth = take_all(Server, 2),
                   ?assertEqual([<<N>> || N <- lists:seq(1, 10)],
                                [Body || {_, Body} <- First ++ Second ++ Third ++ Fourth]),
                   ok = gen_rpc_port:ended(Server, 2)
               end || Submit <- [fun submit_casts/2, fun submit_calls/2]],
              ok = send_in_order(Client, 10),
              ?assertEqual(10, length(take_all(Server, 10))),
              ok = submit_casts(Client, 4),
              ?assertEqual(3, length(take_all(Server, 3))),
              wait(fun() -> maps:get(held, gen_rpc_port:info(Server)) =:= 1 end),
              %% Nor does it wait for one.
              ok = send_in_order(Client, 10),
              ok = gen_rpc_port:ask(Client, 100, infinity, tag(make_ref()), [<<"x">>]),
              ok = gen_rpc_port:flush(Client),
              Ordered = [{0, Body, ordered} || Body <- numbered(10)] ++ [{100, <<"x">>, broadcast}],
              ?assertEqual(Ordered, take_all(Server, 11)),
              ok = nothing_is_delivered(Server),
              close([Client, Server, Listener])
      end).

submit_casts(Client, Count) ->
    [ok = gen_rpc_port:cast(Client, N, infinity, <<>>, [<<N>>]) || N <- lists:seq(1, Count)],
    gen_rpc_port:flush(Client).

submit_calls(Client, Count) ->
    [ok = gen_rpc_port:call(Client, N, infinity, tag(make_ref()), [<<N>>])
     || N <- lists:seq(1, Count)],
    gen_rpc_port:flush(Client).

%% However often the port looks.
nothing_is_delivered(Server) ->
    ok = gen_rpc_port:flush(Server),
    receive
        {Server, requests, _} = Message -> error({unexpected, Message});
        {Port, flush} -> ok = gen_rpc_port:flush(Port), nothing_is_delivered(Server)
    after 0 ->
        ok
    end.

%% The places are those of all connections together. Whoever waits for one is asked to flush when
%% it is his turn; if there is nothing for him any more the next one is.
places_are_of_the_node(Config) ->
    on_node(
      Config,
      fun() ->
              Pairs = [make_pair(#{}, #{max_running => 2}) || _ <- [1, 2, 3]],
              [ok = gen_rpc_port:activate(Server) || {_, _, Server} <- Pairs],
              [{_, Client1, Server1}, {_, Client2, Server2}, {_, Client3, Server3}] = Pairs,
              ok = submit_calls(Client1, 2),
              [_, _] = take_all(Server1, 2),
              ok = submit_calls(Client2, 2),
              wait(fun() -> maps:get(held, gen_rpc_port:info(Server2)) =:= 2 end),
              ok = submit_calls(Client3, 1),
              wait(fun() -> maps:get(held, gen_rpc_port:info(Server3)) =:= 1 end),
              [ok = nothing_is_delivered(Server) || {_, _, Server} <- Pairs],
              %% One place, two who wait: only one gets it.
              ok = gen_rpc_port:ended(Server1, 1),
              {requests, One, [{1, <<1>>}]} = requested(),
              ?assertEqual(2, held(Pairs)),
              [ok = nothing_is_delivered(Server) || {_, _, Server} <- Pairs],
              %% The other two follow.
              ok = gen_rpc_port:ended(Server1, 1),
              {requests, Two, _} = requested(),
              ?assertEqual(1, held(Pairs)),
              ok = gen_rpc_port:ended(One, 1),
              {requests, Three, _} = requested(),
              ?assertEqual(0, held(Pairs)),
              ?assertEqual(lists:sort([Server2, Server2, Server3]), lists:sort([One, Two, Three])),
              [close(tuple_to_list(Pair)) || Pair <- Pairs]
      end).

%% The next requests of any port, with credit.
requested() ->
    case unflushed() of
        {Server, requests, Requests} ->
            ok = gen_rpc_port:credit(Server),
            {requests, Server, Requests};
        Other ->
            error({unexpected, Other})
    end.

held(Pairs) ->
    lists:sum([maps:get(held, gen_rpc_port:info(Server)) || {_, _, Server} <- Pairs]).

%% A request that is given up before it was delivered has no place; one that was has it until its
%% worker ends.
places_of_the_cancelled(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{}, #{max_running => 2}),
              _ = start_call(Client, Server, 1),
              [begin
                   ok = gen_rpc_port:call(Client, Id, infinity, tag(make_ref()), [<<"x">>]),
                   cancelled = gen_rpc_port:cancel(Client, Id),
                   ok = flush([Client])
               end || Id <- lists:seq(101, 110)],
              wait(fun() -> maps:get(cancels_in, gen_rpc_port:info(Server)) =:= 10 end),
              _ = start_call(Client, Server, 2),
              cancelled = gen_rpc_port:cancel(Client, 1),
              ok = gen_rpc_port:call(Client, 3, infinity, tag(make_ref()), [<<"x">>]),
              ok = flush([Client]),
              wait(fun() -> maps:get(cancels_in, gen_rpc_port:info(Server)) =:= 11 end),
              wait(fun() -> maps:get(held, gen_rpc_port:info(Server)) =:= 1 end),
              ok = nothing_is_delivered(Server),
              ok = gen_rpc_port:ended(Server, 1),
              ?assertEqual([{3, <<"x">>}], take_all(Server, 1)),
              close([Client, Server, Listener])
      end).

%% Workers have their places as long as they run, also when their connection is gone. Those of a
%% port that is closed are free.
places_of_a_closed_port(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener1, Client1, Server1} = make_pair(#{}, #{max_running => 2}),
              {Listener2, Client2, Server2} = make_pair(#{}, #{max_running => 2}),
              [ok = gen_rpc_port:activate(Server) || Server <- [Server1, Server2]],
              ok = submit_calls(Client1, 2),
              [_, _] = take_all(Server1, 2),
              ok = submit_calls(Client2, 2),
              wait(fun() -> maps:get(held, gen_rpc_port:info(Server2)) =:= 2 end),
              close([Client1]),
              ?assertEqual(closed, down(Server1)),
              ok = nothing_is_delivered(Server2),
              ok = gen_rpc_port:ended(Server1, 1),
              ?assertEqual([{1, <<1>>}], take_all(Server2, 1)),
              ok = nothing_is_delivered(Server2),
              close([Server1]),
              ?assertEqual([{2, <<2>>}], take_all(Server2, 1)),
              close([Client2, Server2, Listener1, Listener2])
      end).

%% The end of a connection is told, though its calls wait for places that are not given back before:
%% those who called are gone.
lost_while_waiting_for_places(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{}, #{max_running => 1}),
              ok = submit_calls(Client, 3),
              [{1, <<1>>}] = take_all(Server, 1),
              wait(fun() -> maps:get(held, gen_rpc_port:info(Server)) =:= 2 end),
              close([Client]),
              ?assertEqual(closed, down(Server)),
              close([Server, Listener])
      end).

%%% Compression

%% Each side compresses what it sends, at any level, whatever the other one does.
compressed_both_ways(Config) ->
    on_node(
      Config,
      fun() ->
              Sizes = [1024, 5000, 16384, 16385, 65536, 100000, 3000000],
              Sum = lists:sum(Sizes),
              [begin
                   {Listener, Client, Server} = active_pair(#{compress => OfClient},
                                                            #{compress => OfServer}),
                   [?assert(text(Size) =:= round_trip(Client, Server, text(Size)))
                    || Size <- Sizes],
                   [case Level of
                        0 ->
                            ?assertMatch(#{deflate_in := 0, deflate_out := 0, bytes_out := Bytes}
                                           when Bytes > Sum, gen_rpc_port:info(Port));
                        _ ->
                            ?assertMatch(#{deflate_in := Sum, deflate_out := Out,
                                           bytes_out := Bytes}
                                           when Out < Sum div 2 andalso Bytes < Sum div 2,
                                                gen_rpc_port:info(Port))
                    end || {Level, Port} <- [{OfClient, Client}, {OfServer, Server}]],
                   close([Client, Server, Listener]),
                   ok = gen_rpc_test_ports:forget_messages()
               end || {OfClient, OfServer} <- [{1, 0}, {0, 1}, {6, 6}, {9, 1}]]
      end).

%% Lines that differ.
text(Size) ->
    Lines = [["line ", integer_to_list(N), " of a text that says little that is new\n"]
             || N <- lists:seq(1, Size div 40 + 1)],
    <<Text:Size/binary, _/binary>> = iolist_to_binary(Lines),
    Text.

%% Smaller messages go as they are.
compressed_from_a_threshold(Config) ->
    on_node(
      Config,
      fun() ->
              [begin
                   {Listener, Client, Server} =
                       active_pair(#{compress => 6, compression_threshold => Threshold}, #{}),
                   Below = text(Threshold - 1),
                   ?assert(Below =:= round_trip(Client, Server, Below)),
                   ?assertMatch(#{deflate_in := 0}, gen_rpc_port:info(Client)),
                   From = text(Threshold),
                   ?assert(From =:= round_trip(Client, Server, From)),
                   ?assertMatch(#{deflate_in := Threshold}, gen_rpc_port:info(Client)),
                   close([Client, Server, Listener]),
                   ok = gen_rpc_test_ports:forget_messages()
               end || Threshold <- [500, 16384, 16385, 200000]]
      end).

%% What does not become smaller is sent as it is, or not much larger.
not_compressible(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{compress => 6}, #{compress => 6}),
              Sizes = [1024, 2000, 16000, 16384, 16385, 65536, 65537, 1000000, 3000001],
              [begin
                   #{bytes_out := Before} = gen_rpc_port:info(Client),
                   Bytes = rand:bytes(Size),
                   ?assert(Bytes =:= round_trip(Client, Server, Bytes)),
                   #{bytes_out := After} = gen_rpc_port:info(Client),
                   ?assert(After - Before < Size + Size div 100 + 200, {Size, After - Before})
               end || Size <- Sizes],
              close([Client, Server, Listener])
      end).

%% With a context small messages refer to those before them, so that similar ones become smaller.
%% Those that are too large for it, or ordered, are no part of it, and a rest does not end it.
compressed_with_a_context(Config) ->
    on_node(
      Config,
      fun() ->
              [Without, With] =
                  [begin
                       Settings = #{compress => 6, compression_threshold => 100,
                                    compress_context => Context},
                       {Listener, Client, Server} = active_pair(Settings, Settings),
                       Outs = [deflate_similar(Client, Server, Round) || Round <- [1, 2]],
                       close([Client, Server, Listener]),
                       ok = gen_rpc_test_ports:forget_messages(),
                       lists:sum(Outs)
                   end || Context <- [false, true]],
              ?assert(With < Without div 2, {With, Without})
      end).

%% How many bytes became of similar messages.
deflate_similar(Client, Server, Round) ->
    Outs = [begin
                #{deflate_out := Before} = gen_rpc_port:info(Client),
                Message = term_to_binary({call, billing_account, update_balance,
                                          [#{customer => N * Round, currency => <<"EUR">>,
                                             amount => N / 7, origin => 'webshop@host',
                                             reason => <<"purchase order">>, retries => N rem 3,
                                             {region, south} => [north, east, west]}]}),
                ?assertEqual(Message, round_trip(Client, Server, Message)),
                #{deflate_out := After} = gen_rpc_port:info(Client),
                ok = send_others(Client, Server, N),
                After - Before
            end || N <- lists:seq(1, 200)],
    timer:sleep(1200), % after a second without use buffers are given back
    lists:sum(Outs).

send_others(Client, Server, N) when N rem 20 =:= 0 ->
    [?assert(text(Size) =:= round_trip(Client, Server, text(Size)))
     || Size <- [99, 8192, 8193, 16384, 16385, 100000]],
    ok = gen_rpc_port:ordered(Client, 1, infinity, <<>>, [text(1000)]),
    ?assertEqual([{0, text(1000), ordered}], take_all(Server, 1)),
    ok;
send_others(_Client, _Server, _N) ->
    ok.

%% More at once than there are compressors: each arrives, compressed or not, in either direction.
many_compressed_at_once(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{compress => 1}, #{compress => 1}),
              Calls = [{Id, make_ref(), <<Id:32, (text(300000 + Id))/binary>>}
                       || Id <- lists:seq(1, 40)],
              [ok = gen_rpc_port:call(Client, Id, infinity, tag(Ref), [Body])
               || {Id, Ref, Body} <- Calls],
              Requests = take_all(Server, 40),
              ?assert([{Id, Body} || {Id, _, Body} <- Calls] =:= lists:sort(Requests)),
              [ok = gen_rpc_port:reply(Server, Id, tag(make_ref()), [Body])
               || {Id, Body} <- Requests],
              ok = gen_rpc_port:flush(Server),
              Answers = [unflushed() || _ <- Calls],
              ?assert(lists:sort([{Ref, Body} || {_, Ref, Body} <- Calls]) =:=
                          lists:sort(Answers)),
              [?assertMatch(#{deflate_in := In, deflate_out := Out}
                              when In > 300000 andalso Out < In div 2, gen_rpc_port:info(Port))
               || Port <- [Client, Server]],
              none(Client, Server),
              close([Client, Server, Listener])
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

%% Large messages that are under way then arrive whole, either way.
goodbye_with_large_messages(Config) ->
    on_node(
      Config,
      fun() ->
              [begin
                   {Listener, Client, Server} = active_pair(#{}, #{}),
                   Ref = make_ref(),
                   Large = rand:bytes(Size),
                   ok = gen_rpc_port:call(Client, 1, infinity, tag(Ref), [Large]),
                   ok = gen_rpc_port:goodbye(Client, ?LONG, always),
                   {_, [{1, Large}]} = take_requests(Server, 1),
                   ok = gen_rpc_port:reply(Server, 1, tag(make_ref()), [Large]),
                   ?assert(Large =:= answer(Ref)),
                   ?assertEqual([normal, normal], [down(Port) || Port <- [Client, Server]]),
                   close([Client, Server, Listener]),
                   ok = gen_rpc_test_ports:forget_messages()
               end || Size <- [100000, 1000000, 5000000], _ <- lists:seq(1, 5)]
      end).

answer(Ref) ->
    receive
        {Ref, Answer} -> Answer;
        {Port, flush} -> ok = gen_rpc_port:flush(Port), answer(Ref)
    after 10000 ->
        error(no_answer)
    end.

%% Goodbye comes behind all that was submitted, also what still waits for the peer's window; and at
%% once when that is given up.
goodbye_behind_a_full_window(Config) ->
    with_pair(
      Config,
      fun(Client, Server) ->
              ok = send_in_order(Client, 3000),
              First = untaken(Server),
              ok = gen_rpc_port:ask(Client, 1, infinity, tag(make_ref()), [<<"x">>]),
              ok = gen_rpc_port:goodbye(Client, ?LONG, always),
              cancelled = gen_rpc_port:cancel(Client, 1),
              ?assertMatch(#{state := open, output := Output} when Output > 1000000,
                                                                  gen_rpc_port:info(Client)),
              ok = gen_rpc_port:taken(Server, length(First), 1000 * length(First)),
              Rest = take_all(Server, 3000 - length(First)),
              ?assert(numbered(3000) =:= [Body || {0, Body, ordered} <- First ++ Rest]),
              ?assertEqual([normal, normal], [down(Port) || Port <- [Client, Server]]),
              ok = gen_rpc_test_ports:forget_messages()
      end),
    with_pair(
      Config,
      fun(Client, Server) ->
              %% One message uses more than the window, so the next one has not begun.
              ok = gen_rpc_port:ordered(Client, 1, infinity, <<>>, [rand:bytes(2000000)]),
              [_] = untaken(Server),
              ok = gen_rpc_port:ask(Client, 1, infinity, tag(make_ref()), [<<"x">>]),
              ok = gen_rpc_port:goodbye(Client, ?LONG, always),
              cancelled = gen_rpc_port:cancel(Client, 1),
              ?assertEqual([normal, normal], [down(Port) || Port <- [Client, Server]]),
              ok = gen_rpc_test_ports:forget_messages()
      end).

%% {Port, idle} comes once after idle_timeout without traffic, and again after more of that.
idle_is_told_once(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{idle_timeout => 50}, #{}),
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
              {Listener, Client, Server} = active_pair(#{}, #{}),
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

%% Two ports joined over loopback, by what the group is about.
make_pair(ClientSettings, ServerSettings) ->
    case persistent_term:get(?MODULE, tcp) of
        tcp -> gen_rpc_test_ports:make_pair(ClientSettings, ServerSettings);
        tls -> gen_rpc_test_ports:make_tls_pair(ClientSettings, ServerSettings)
    end.

%% The same, with an active server.
active_pair(ClientSettings, ServerSettings) ->
    {_Listener, _Client, Server} = Pair = make_pair(ClientSettings, ServerSettings),
    ok = gen_rpc_port:activate(Server),
    Pair.

%% Runs a case with two such ports, the server's active.
with_pair(Config, Case) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = active_pair(#{}, #{}),
              _ = Case(Client, Server),
              close([Client, Server, Listener])
      end).
