%% SPDX-License-Identifier: Apache-2.0
%% Receivers: processes that get the answers to calls which others submit, at the level of the
%% driver's ports. Numbers are all that a call has of them, so no number may do harm.
-module(gen_rpc_receiver_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2,
         end_per_testcase/2]).
-export([answers_go_to_the_receiver/1, errors_go_to_the_receiver/1,
         room_is_told_to_who_submits/1, cancelled_by_anybody/1, dead_receiver_is_noticed/1,
         no_such_receiver/1, number_is_free_again/1, port_serves_nothing_else/1,
         more_than_there_can_be/1]).

-import(gen_rpc_test_node, [run/2]).
-import(gen_rpc_test_ports, [make_pair/2, close/1, tag/1, unflushed/0, flush/1,
                             take_requests/2]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [answers_go_to_the_receiver, errors_go_to_the_receiver, room_is_told_to_who_submits,
     cancelled_by_anybody, dead_receiver_is_noticed, no_such_receiver, number_is_free_again,
     port_serves_nothing_else, more_than_there_can_be].

%% The node is another one than the test's: if the driver brings it down, only a test fails.
init_per_suite(Config) ->
    Settings = [{tcp_server_port, false}],
    [{node, gen_rpc_test_node:keep(gen_rpc_test_node:start(Settings))} | Config].

end_per_suite(Config) ->
    gen_rpc_test_node:stop(node_of(Config)).

init_per_testcase(_Case, Config) ->
    [{before, gen_rpc_test_node:resources(node_of(Config))} | Config].

end_per_testcase(_Case, Config) ->
    gen_rpc_test_node:expect_resources(node_of(Config), proplists:get_value(before, Config)).

node_of(Config) -> proplists:get_value(node, Config).

%% Runs a case on the node, with two ports that are joined and a receiver, which sends on all that it
%% gets as {received, Message}.
with_receiver(Config, Settings, Case) ->
    run(node_of(Config),
        fun() ->
                {Listener, Client, Server} = make_pair(Settings, #{}),
                ok = gen_rpc_port:activate(Server),
                {Pid, Receiver} = start_receiver(),
                _ = Case(Client, Server, Pid, Receiver),
                ok = stop_receiver(Pid),
                close([Client, Server, Listener])
        end).

start_receiver() ->
    Self = self(),
    Pid = spawn_link(fun() ->
                             Port = gen_rpc_port:open(),
                             Self ! {self(), gen_rpc_port:receiver(Port)},
                             send_on(Self, Port)
                     end),
    receive {Pid, {ok, Receiver}} -> {Pid, Receiver} end.

send_on(To, Port) ->
    receive
        stop -> gen_rpc_port:close(Port);
        Message -> To ! {received, Message}, send_on(To, Port)
    end.

stop_receiver(Pid) ->
    Monitor = monitor(process, Pid),
    Pid ! stop,
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

received() ->
    {received, Message} = unflushed(),
    Message.

%% Small and large ones, whoever submits.
answers_go_to_the_receiver(Config) ->
    with_receiver(
      Config, #{},
      fun(Client, Server, _Pid, Receiver) ->
              [begin
                   Ref = make_ref(),
                   Id = erlang:unique_integer([positive]),
                   Body = rand:bytes(Size),
                   ok = gen_rpc_port:call_for(Client, Receiver, Id, infinity, tag(Ref), [Body]),
                   ok = flush([Client]),
                   {_, [{Id, Body}]} = take_requests(Server, 1),
                   ok = gen_rpc_port:reply(Server, Id, tag(make_ref()), [Body]),
                   ok = flush([Server]),
                   ?assertEqual({Ref, Body}, received())
               end || Size <- [0, 10, 16384, 16385, 100000, 3000000]],
              ?assertMatch(#{calls := 0}, gen_rpc_port:info(Client))
      end).

%% It hears that the connection is lost, as a caller would; who submitted hears nothing.
errors_go_to_the_receiver(Config) ->
    with_receiver(
      Config, #{},
      fun(Client, Server, _Pid, Receiver) ->
              Ref = make_ref(),
              ok = gen_rpc_port:call_for(Client, Receiver, 1, infinity, tag(Ref), [<<"x">>]),
              ok = flush([Client]),
              {_, [{1, <<"x">>}]} = take_requests(Server, 1),
              ok = gen_rpc_port:close(Server),
              ?assertMatch({Client, down, closed}, unflushed()),
              ok = gen_rpc_port:drain(Client),
              ?assertEqual({Ref, {lost, closed}}, received())
      end).

%% Whoever submits is the one who has to wait for room, and is woken.
room_is_told_to_who_submits(Config) ->
    with_receiver(
      Config, #{output_limit => 100000},
      fun(Client, Server, _Pid, Receiver) ->
              Megabyte = rand:bytes(1000000),
              Submit = fun(Id, Ref) ->
                               gen_rpc_port:call_for(Client, Receiver, Id, infinity, tag(Ref),
                                                     [Megabyte])
                       end,
              Refs = submit_until_busy(Submit, 1, []),
              [Last | Sent] = Refs,
              {_, Requests} = take_requests(Server, length(Sent)),
              ?assertEqual({Last, ready}, unflushed()),
              ?assertEqual(ok, Submit(length(Refs), Last)),
              {_, [_] = More} = take_requests(Server, 1),
              [ok = gen_rpc_port:reply(Server, Id, tag(make_ref()), [<<Id:32>>])
               || {Id, _} <- Requests ++ More],
              ok = flush([Server]),
              Answers = [received() || _ <- Refs],
              ?assertEqual(lists:sort(lists:zip(lists:reverse(Refs),
                                                [<<Id:32>> || Id <- lists:seq(1, length(Refs))])),
                           lists:sort(Answers))
      end).

submit_until_busy(Submit, Id, Refs) ->
    Ref = make_ref(),
    case Submit(Id, Ref) of
        ok -> submit_until_busy(Submit, Id + 1, [Ref | Refs]);
        busy -> [Ref | Refs]
    end.

%% A call is cancelled by its number, by whomever; then its receiver gets nothing.
cancelled_by_anybody(Config) ->
    with_receiver(
      Config, #{},
      fun(Client, Server, _Pid, Receiver) ->
              ok = gen_rpc_port:call_for(Client, Receiver, 1, infinity, tag(make_ref()), [<<"x">>]),
              ok = flush([Client]),
              {_, [{1, <<"x">>}]} = take_requests(Server, 1),
              ?assertEqual(cancelled, gen_rpc_port:cancel(Client, 1)),
              _ = gen_rpc_port:reply(Server, 1, tag(make_ref()), [<<"late">>]),
              ok = flush([Client, Server]),
              ?assertEqual(<<"on">>, gen_rpc_test_ports:round_trip(Client, Server, <<"on">>)),
              receive {received, Any} -> error({unexpected, Any}) after 0 -> ok end
      end).

%% The calls of a receiver that has died are cancelled, as those of a caller are.
dead_receiver_is_noticed(Config) ->
    run(node_of(Config),
        fun() ->
                {Listener, Client, Server} = make_pair(#{}, #{tell_cancels => true}),
                ok = gen_rpc_port:activate(Server),
                {Pid, Receiver} = start_receiver(),
                ok = gen_rpc_port:call_for(Client, Receiver, 1, infinity, tag(make_ref()), [<<"x">>]),
                ok = flush([Client]),
                {_, [{1, <<"x">>}]} = take_requests(Server, 1),
                ok = stop_receiver(Pid),
                ?assertEqual({Server, cancel, 1}, unflushed()),
                ?assertMatch(#{calls := 0}, gen_rpc_port:info(Client)),
                close([Client, Server, Listener])
        end).

%% A number that nobody has is refused like a port that is down, small or large, and nothing else
%% happens.
no_such_receiver(Config) ->
    with_receiver(
      Config, #{},
      fun(Client, Server, _Pid, Receiver) ->
              [?assertEqual({N, Size, down},
                            {N, Size, gen_rpc_port:call_for(Client, N, 1, infinity, tag(make_ref()),
                                                            [rand:bytes(Size)])})
               || N <- [0, 63, 64, 65, 255, 256, 65535], N =/= Receiver, Size <- [0, 10, 16384]],
              ?assertMatch(#{calls := 0, state := open}, gen_rpc_port:info(Client)),
              ?assertEqual(<<"on">>, gen_rpc_test_ports:round_trip(Client, Server, <<"on">>))
      end).

%% When its port is closed a receiver's number is free, for another one.
number_is_free_again(Config) ->
    run(node_of(Config),
        fun() ->
                Numbers = [begin
                               {Pid, Receiver} = start_receiver(),
                               ok = stop_receiver(Pid),
                               Receiver
                           end || _ <- lists:seq(1, 200)],
                ?assertEqual(1, length(lists:usort(Numbers)))
        end).

%% A port that has made a receiver makes no other, and no connection; one that has a connection
%% makes no receiver.
port_serves_nothing_else(Config) ->
    run(node_of(Config),
        fun() ->
                {Listener, Client, Server} = make_pair(#{}, #{}),
                [?assertEqual({error, closed}, gen_rpc_port:receiver(Port))
                 || Port <- [Listener, Client, Server]],
                Port = gen_rpc_port:open(),
                {ok, _} = gen_rpc_port:receiver(Port),
                ?assertEqual({error, closed}, gen_rpc_port:receiver(Port)),
                ?assertEqual({error, closed}, gen_rpc_port:listen(Port, {{127, 0, 0, 1}, 0},
                                                                #{max_connections => 1})),
                ok = gen_rpc_port:close(Port),
                ?assertEqual({error, closed}, gen_rpc_port:receiver(Port)),
                close([Client, Server, Listener])
        end).

%% There is a limit, and an error that says so.
more_than_there_can_be(Config) ->
    run(node_of(Config),
        fun() ->
                Open = [{Port, gen_rpc_port:receiver(Port)}
                        || _ <- lists:seq(1, 70), Port <- [gen_rpc_port:open()]],
                Numbers = [Number || {_, {ok, Number}} <- Open],
                ?assertEqual(length(Numbers), length(lists:usort(Numbers))),
                ?assertEqual([{error, system_limit}],
                             lists:usort([Result || {_, {error, _} = Result} <- Open])),
                close([Port || {Port, _} <- Open])
        end).
