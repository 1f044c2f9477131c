%% SPDX-License-Identifier: Apache-2.0
%% Deadlines and cancels on real nodes: what nobody waits for any more is not started, and costs
%% nothing; whether it is ended is a setting. Nobody else notices.
-module(gen_rpc_cancel_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([too_late_is_not_started/1, too_late_at_first_contact/1, too_late_behind_a_full_house/1,
         given_up_before_it_is_sent/1, time_left_is_enough/1]).
-export([timeout_leaves_the_worker/1, timeout_kills_the_worker/1, dead_caller_kills_the_worker/1,
         dead_caller_who_waits_for_room/1, lost_connection_kills_workers/1,
         lost_connection_leaves_workers/1, casts_are_not_cancelled/1, local_calls/1]).
-export([large_request_given_up/1, large_reply_given_up/1, large_requests_come_and_go/1,
         many_at_once/1]).

-import(gen_rpc_test_node, [call/4, run/2, wait/1]).
-import(gen_rpc_test_flow, [restart/3, restart_with_valve/3, set/3, passed/2, at_once/2, echo/2,
                            echo/3, port_of/2, connection/2, counter/2, mailbox/0, served/1,
                            noted/1, forget/1]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(MIB, (1024 * 1024)).
-define(LARGE, (50 * ?MIB)).

%% Bytes that a valve passes in a step: some MB a second.
-define(SLOW, 8192).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, tcp}, {group, tls}].

groups() ->
    Both = [too_late_is_not_started, timeout_kills_the_worker, large_request_given_up,
            large_reply_given_up, large_requests_come_and_go, many_at_once],
    [{tcp, [], Both ++ [too_late_at_first_contact, too_late_behind_a_full_house,
                        given_up_before_it_is_sent, time_left_is_enough,
                        timeout_leaves_the_worker, dead_caller_kills_the_worker,
                        dead_caller_who_waits_for_room, lost_connection_kills_workers,
                        lost_connection_leaves_workers, casts_are_not_cancelled, local_calls]},
     {tls, [], Both}].

init_per_suite(Config) -> gen_rpc_test_flow:start(Config).

end_per_suite(Config) -> gen_rpc_test_flow:stop(Config).

init_per_group(tls, Config) -> [{transport, ssl} | Config];
init_per_group(_Group, Config) -> Config.

end_per_group(_Group, _Config) -> ok.

init_per_testcase(_Case, Config) -> Config.

end_per_testcase(_Case, Config) -> gen_rpc_test_flow:finish(Config).

%%% Not started

%% A server that was stopped for longer than some requests had time does not start those, even with
%% nobody telling it that they are given up; it starts all others.
too_late_is_not_started(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = forget(Server),
    %% By these it knows how long a request is under way when nothing is in its way.
    [Node = echo(Client, Node) || _ <- lists:seq(1, 20)],
    Frozen = gen_rpc_test_node:freeze(Server),
    Long = try
               Tasks = note_calls(Client, Node, 60, long, ?LONG),
               Short = note_calls(Client, Node, 60, short, 300),
               ?assertEqual(lists:duplicate(60, {{badrpc, timeout}, []}),
                            gen_rpc_test_task:results(Short)),
               %% Some time more.
               {badrpc, timeout} = echo(Client, Node, 100),
               Tasks
           after
               gen_rpc_test_node:thaw(Frozen)
           end,
    ?assertEqual(lists:duplicate(60, {ok, []}), gen_rpc_test_task:results(Long)),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(lists:sort([{long, I} || I <- lists:seq(1, 60)]), lists:sort(noted(Server))),
    %% All small ones have left; some of the large ones may have been given up on their way.
    ?assert(counter(Server, too_late) + counter(Server, cancels_in) >= 40),
    ?assertEqual(61, counter(Client, calls_cancelled)),
    ?assertEqual(0, served(Server)).

%% Small and large ones, unless What says otherwise.
note_calls(Client, Dest, N, What, Timeout) ->
    gen_rpc_test_task:start(
      N, fun(I) ->
                 Size = case What =/= small andalso I rem 3 =:= 0 of true -> 50000; false -> 50 end,
                 Luggage = binary:copy(<<"x">>, Size),
                 run(Client, fun() ->
                                     {gen_rpc:call(Dest, gen_rpc_test_flow, note,
                                                   [{What, I}, Luggage], Timeout, ?LONG),
                                      mailbox()}
                             end)
         end).

%% The first requests of a connection say nothing about how long they were under way, but a cancel
%% right behind them does: they are not started either, if they arrive together.
too_late_at_first_contact(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = forget(Server),
    abcast = call(Client, gen_rpc, abcast, [[Node], no_such_name, hello]),
    Frozen = gen_rpc_test_node:freeze(Server),
    try
        Short = note_calls(Client, Node, 20, small, 100),
        ?assertEqual(lists:duplicate(20, {{badrpc, timeout}, []}),
                     gen_rpc_test_task:results(Short))
    after
        gen_rpc_test_node:thaw(Frozen)
    end,
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual([], noted(Server)),
    ?assertEqual(20, counter(Server, cancels_in)),
    ?assertEqual(0, served(Server)).

%% What waits for a place of max_concurrent_calls, and is given up meanwhile, is never started: its
%% place goes to those who still wait.
too_late_behind_a_full_house(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{send_timeout, ?LONG}], [{max_concurrent_calls, 1}]),
    ok = start_work(Server),
    Held = gen_rpc_test_task:start(fun() -> held_call(Client, Node, 1) end),
    wait(fun() -> at_work(Server) =:= 1 end),
    Long = note_calls(Client, Node, 60, long, ?LONG),
    ?assertEqual(lists:duplicate(60, {{badrpc, timeout}, []}),
                 gen_rpc_test_task:results(note_calls(Client, Node, 60, short, 300))),
    wait(fun() -> counter(Server, cancels_in) =:= 60 end),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    ?assertEqual({1, []}, gen_rpc_test_task:result(Held)),
    ?assertEqual(lists:duplicate(60, {ok, []}), gen_rpc_test_task:results(Long)),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(lists:sort([{long, I} || I <- lists:seq(1, 60)]), lists:sort(noted(Server))).

start_work(Server) ->
    ok = forget(Server),
    ok = call(Server, gen_rpc_test_flow, start_gauge, []),
    call(Server, gen_rpc_test_flow, close_gate, []).

at_work(Server) ->
    maps:get(now, call(Server, gen_rpc_test_flow, gauge, [])).

held_call(Client, Dest, I) ->
    held_call(Client, Dest, I, ?LONG).

held_call(Client, Dest, I, Timeout) ->
    run(Client, fun() ->
                        {gen_rpc:call(Dest, gen_rpc_test_flow, held, [I], Timeout, ?LONG),
                         mailbox()}
                end).

%% What could not even be sent, because the peer takes nothing, is forgotten where it is.
given_up_before_it_is_sent(Config) ->
    {Client, #{node := Node} = Server, Valve} =
        restart_with_valve(Config, [{send_timeout, ?LONG}], []),
    ok = forget(Server),
    Node = echo(Client, Node),
    ok = set(Valve, to_server, shut),
    Calls = run(Client, fun() ->
                                at_once(100, fun(I) ->
                                                     {gen_rpc:call(Node, gen_rpc_test_flow, note,
                                                                   [I, binary:copy(<<"x">>, ?MIB)],
                                                                   300, ?LONG), mailbox()}
                                             end)
                        end),
    ?assertEqual([{{badrpc, timeout}, []}], lists:usort(Calls)),
    ?assertMatch(#{calls := 0, waiting := 0}, connection(Client, Node)),
    %% Nothing of it is left but what the kernel has, and what says that it is given up.
    ?assertMatch(#{output := Output} when Output < ?MIB, connection(Client, Node)),
    ok = set(Valve, to_server, free),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual([], noted(Server)),
    ?assert(passed(Valve, to_server) < 10 * ?MIB),
    ok = gen_rpc_test_flow:stop_valve(Valve).

%% Those whose time is not up run, however little is left, and whatever the other one's clock says.
time_left_is_enough(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = forget(Server),
    Results = run(Client, fun() ->
                                  at_once(20, fun(P) ->
                                                      [gen_rpc:call(Node, gen_rpc_test_flow, note,
                                                                    [{P, I}, <<>>], 2000 + I)
                                                       || I <- lists:seq(1, 100)]
                                              end)
                          end),
    ?assertEqual([ok], lists:usort(lists:append(Results))),
    ?assertEqual(2000, length(lists:usort(noted(Server)))),
    ?assertEqual(0, counter(Server, too_late)),
    %% Nobody says that there must not be an answer yet.
    ?assert(lists:member(echo(Client, Node, 0), [{badrpc, timeout}, Node])),
    ?assertEqual(Node, call(Client, gen_rpc, call, [Node, erlang, node, [], infinity, infinity])).

%%% Running workers

%% By default a worker whose caller has given up runs to its end, and its result goes nowhere.
timeout_leaves_the_worker(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    ?assertEqual({{badrpc, timeout}, []}, held_call(Client, Node, 1, 200)),
    wait(fun() -> counter(Server, cancels_in) =:= 1 end),
    Pid = dying_caller(Client, Node, 2),
    wait(fun() -> at_work(Server) =:= 2 end),
    kill(Client, Pid),
    wait(fun() -> counter(Server, cancels_in) =:= 2 end),
    ?assertEqual(2, at_work(Server)),
    Frames = maps:get(frames_in, connection(Client, Node)),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    wait(fun() -> at_work(Server) =:= 0 end),
    ?assertEqual(0, counter(Server, workers_killed)),
    %% Nothing has come in between.
    Node = echo(Client, Node),
    ?assertEqual(Frames + 1, maps:get(frames_in, connection(Client, Node))),
    ?assertEqual(0, maps:get(late, connection(Client, Node))).

dying_caller(Client, Dest, I) ->
    run(Client, fun() ->
                        spawn(fun() ->
                                      gen_rpc:call(Dest, gen_rpc_test_flow, held, [I], ?LONG)
                              end)
                end).

kill(Client, Pid) ->
    run(Client, fun() ->
                        Monitor = monitor(process, Pid),
                        exit(Pid, kill),
                        receive {'DOWN', Monitor, process, Pid, _} -> ok end
                end).

%% With kill_on_cancel it is killed, and only that one; those of others and of casts go on.
timeout_kills_the_worker(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{kill_on_cancel, true}]),
    ok = start_work(Server),
    Long = gen_rpc_test_task:start(10, fun(I) -> held_call(Client, Node, {long, I}) end),
    true = call(Client, gen_rpc, cast, [Node, gen_rpc_test_flow, held, [cast]]),
    wait(fun() -> at_work(Server) =:= 11 end),
    Before = length(workers(Server)),
    ?assertEqual(11, Before),
    Short = run(Client, fun() ->
                                at_once(10, fun(I) ->
                                                    {gen_rpc:call(Node, gen_rpc_test_flow, held,
                                                                  [{short, I}], 300), mailbox()}
                                            end)
                        end),
    ?assertEqual(lists:duplicate(10, {{badrpc, timeout}, []}), Short),
    wait(fun() -> length(workers(Server)) =:= 11 end),
    ?assertEqual(10, counter(Server, workers_killed)),
    ?assertEqual(10, counter(Server, cancels_in)),
    ?assertEqual(21, maps:get(begun, call(Server, gen_rpc_test_flow, gauge, []))),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    ?assertEqual([{{long, I}, []} || I <- lists:seq(1, 10)], gen_rpc_test_task:results(Long)),
    wait(fun() -> workers(Server) =:= [] end),
    %% Those who were killed have not left the gauge.
    ?assertEqual(10, at_work(Server)),
    ?assertEqual(Node, echo(Client, Node)).

workers(Server) ->
    call(Server, gen_rpc_test_flow, worker_pids, []).

%% A caller that dies tells nobody; the node sees it within some seconds.
dead_caller_kills_the_worker(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{kill_on_cancel, true}]),
    ok = start_work(Server),
    Alive = gen_rpc_test_task:start(fun() -> held_call(Client, Node, alive) end),
    Dying = [dying_caller(Client, Node, I) || I <- lists:seq(1, 50)],
    wait(fun() -> length(workers(Server)) =:= 51 end),
    [ok = kill(Client, Pid) || Pid <- Dying],
    wait(fun() -> length(workers(Server)) =:= 1 end),
    ?assertEqual(50, counter(Server, workers_killed)),
    ?assertEqual(50, counter(Client, cancels_out)),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    ?assertEqual({alive, []}, gen_rpc_test_task:result(Alive)).

%% One that dies while it waits for room keeps nobody from it.
dead_caller_who_waits_for_room(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = forget(Server),
    Node = echo(Client, Node),
    Frozen = gen_rpc_test_node:freeze(Server),
    Alive = try
                Casters = run(Client, fun() ->
                                              [spawn(fun() -> cast_forever(Node) end)
                                               || _ <- lists:seq(1, 20)]
                                      end),
                wait(fun() -> maps:get(waiting, connection(Client, Node)) =:= 20 end),
                Task = gen_rpc_test_task:start(fun() -> note_call(Client, Node, alive, 16000) end),
                wait(fun() -> maps:get(waiting, connection(Client, Node)) =:= 21 end),
                [ok = kill(Client, Pid) || Pid <- Casters],
                wait(fun() -> maps:get(waiting, connection(Client, Node)) =:= 1 end),
                Task
            after
                gen_rpc_test_node:thaw(Frozen)
            end,
    ?assertEqual({ok, []}, gen_rpc_test_task:result(Alive)),
    ?assertEqual([alive], noted(Server)).

cast_forever(Dest) ->
    true = gen_rpc:cast(Dest, erlang, byte_size, [binary:copy(<<"x">>, 16000)], infinity),
    cast_forever(Dest).

note_call(Client, Dest, What, Size) ->
    run(Client, fun() ->
                        {gen_rpc:call(Dest, gen_rpc_test_flow, note,
                                      [What, binary:copy(<<"x">>, Size)], ?LONG, ?LONG), mailbox()}
                end).

%% With a connection all of its calls are given up; its casts run on, and so do others' calls.
lost_connection_kills_workers(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{kill_on_cancel, true}]),
    ok = start_work(Server),
    Lost = gen_rpc_test_task:start(10, fun(I) -> held_call(Client, Node, I) end),
    true = call(Client, gen_rpc, cast, [Node, gen_rpc_test_flow, held, [cast]]),
    Other = gen_rpc_test_task:start(fun() -> held_call(Client, {Node, key}, other) end),
    wait(fun() -> length(workers(Server)) =:= 12 end),
    ok = lose(Client, Node),
    [?assertMatch({{badtcp, _}, []}, Result) || Result <- gen_rpc_test_task:results(Lost)],
    wait(fun() -> length(workers(Server)) =:= 2 end),
    ?assertEqual(10, counter(Server, workers_killed)),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    ?assertEqual({other, []}, gen_rpc_test_task:result(Other)),
    wait(fun() -> workers(Server) =:= [] end).

lose(Client, Dest) ->
    {ok, Port} = port_of(Client, Dest),
    true = run(Client, fun() -> exit(Port, kill) end),
    ok.

%% Without it all of them run on.
lost_connection_leaves_workers(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    Lost = gen_rpc_test_task:start(10, fun(I) -> held_call(Client, Node, I) end),
    wait(fun() -> at_work(Server) =:= 10 end),
    ok = lose(Client, Node),
    [?assertMatch({{badtcp, _}, []}, Result) || Result <- gen_rpc_test_task:results(Lost)],
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end),
    ?assertEqual(10, length(workers(Server))),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    wait(fun() -> at_work(Server) =:= 0 end).

%% Whoever casts waits for nothing, so his death means nothing.
casts_are_not_cancelled(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{send_timeout, ?LONG}], [{kill_on_cancel, true}]),
    ok = start_work(Server),
    Node = echo(Client, Node),
    Frozen = gen_rpc_test_node:freeze(Server),
    try
        Pids = run(Client, fun() ->
                                   [spawn(fun() ->
                                                  gen_rpc:cast(Node, gen_rpc_test_flow, note,
                                                               [I, binary:copy(<<"x">>, I * I)], 0)
                                          end) || I <- lists:seq(1, 200)]
                           end),
        wait(fun() -> not run(Client, fun() -> lists:any(fun is_process_alive/1, Pids) end) end),
        ?assertEqual({badrpc, timeout}, echo(Client, Node, 200))
    after
        gen_rpc_test_node:thaw(Frozen)
    end,
    wait(fun() -> length(noted(Server)) =:= 200 end),
    ?assertEqual(0, counter(Server, workers_killed)).

%% Calls to the own node obey the same setting.
local_calls(Config) ->
    [begin
         {_, #{node := Node} = Server} = restart(Config, [], [{kill_on_cancel, Kill}]),
         ok = start_work(Server),
         ?assertEqual({{badrpc, timeout}, []}, held_call(Server, Node, 1, 100)),
         ?assertEqual(Left, length(workers(Server))),
         ok = call(Server, gen_rpc_test_flow, open_gate, []),
         wait(fun() -> workers(Server) =:= [] end)
     end || {Kill, Left} <- [{false, 1}, {true, 0}]].

%%% Large ones

%% The server gives back what it has of a large request whose caller gives up in the middle.
large_request_given_up(Config) ->
    {Client, #{node := Node} = Server, Valve} = restart_with_valve(Config, [], []),
    ok = forget(Server),
    Node = echo(Client, Node),
    Before = binaries(Server),
    Port = port_of(Client, Node),
    ok = set(Valve, to_server, ?SLOW),
    Call = gen_rpc_test_task:start(fun() -> note_call_at(Client, Node, 2000) end),
    wait(fun() -> passed(Valve, to_server) > ?MIB end),
    ?assert(binaries(Server) > Before + ?LARGE div 2),
    ?assertEqual({{badrpc, timeout}, []}, gen_rpc_test_task:result(Call)),
    ok = set(Valve, to_server, free),
    Node = echo(Client, Node),
    wait(fun() -> binaries(Server) < Before + 4 * ?MIB end),
    ?assertEqual([1, 1], [counter(N, aborted) || N <- [Client, Server]]),
    ?assert(passed(Valve, to_server) < ?LARGE),
    ?assertMatch(#{calls := 0, output := 0}, connection(Client, Node)),
    ?assertEqual(0, served(Server)),
    ?assertEqual([], noted(Server)),
    ?assertEqual(Port, port_of(Client, Node)),
    ok = gen_rpc_test_flow:stop_valve(Valve).

note_call_at(Client, Dest, Timeout) ->
    run(Client, fun() ->
                        {gen_rpc:call(Dest, gen_rpc_test_flow, note,
                                      [large, binary:copy(<<"x">>, ?LARGE)], Timeout), mailbox()}
                end).

binaries(Node) ->
    run(Node, fun() ->
                      _ = [erlang:garbage_collect(Pid) || Pid <- processes()],
                      gen_rpc_test_node:memory(binary)
              end).

%% So does the client with a large reply, and the server does not send the rest of it.
large_reply_given_up(Config) ->
    {Client, #{node := Node} = Server, Valve} = restart_with_valve(Config, [], []),
    Node = echo(Client, Node),
    Before = [binaries(N) || N <- [Client, Server]],
    Port = port_of(Client, Node),
    ok = set(Valve, to_client, ?SLOW),
    Call = gen_rpc_test_task:start(
             fun() ->
                     run(Client, fun() ->
                                         {gen_rpc:call(Node, binary, copy, [<<"x">>, ?LARGE], 2000),
                                          mailbox()}
                                 end)
             end),
    wait(fun() -> passed(Valve, to_client) > ?MIB end),
    ?assert(binaries(Client) > hd(Before) + ?LARGE div 2),
    ?assertEqual({{badrpc, timeout}, []}, gen_rpc_test_task:result(Call)),
    ok = set(Valve, to_client, free),
    Node = echo(Client, Node),
    wait(fun() -> [binaries(N) < B + 4 * ?MIB || {N, B} <- lists:zip([Client, Server], Before)] =:=
                      [true, true]
         end),
    ?assertEqual([1, 1], [counter(N, aborted) || N <- [Client, Server]]),
    ?assert(passed(Valve, to_client) < ?LARGE),
    ?assertEqual(Port, port_of(Client, Node)),
    ok = gen_rpc_test_flow:stop_valve(Valve).

%% Hundreds of large requests, most of them given up at some point on their way, leave the
%% connection as it was: all slots are free, nothing is kept, and the rest is served.
large_requests_come_and_go(Config) ->
    {Client, #{node := Node} = Server, Valve} = restart_with_valve(Config, [], []),
    Node = echo(Client, Node),
    Before = [binaries(N) || N <- [Client, Server]],
    Port = port_of(Client, Node),
    ok = set(Valve, to_server, 4 * ?SLOW),
    Results = run(Client, fun() -> at_once(100, fun(P) -> come_and_go(Node, P) end) end),
    ?assertEqual([right], lists:usort(lists:append(Results))),
    ok = set(Valve, to_server, free),
    %% One for each slot at once, and more.
    ?assertEqual(lists:duplicate(100, ?MIB),
                 run(Client, fun() ->
                                     at_once(100, fun(_) ->
                                                          gen_rpc:call(Node, erlang, byte_size,
                                                                       [binary:copy(<<"x">>, ?MIB)],
                                                                       ?LONG, ?LONG)
                                                  end)
                             end)),
    wait(fun() -> [binaries(N) < B + 8 * ?MIB || {N, B} <- lists:zip([Client, Server], Before)] =:=
                      [true, true]
         end),
    wait(fun() -> maps:get(output, connection(Client, Node)) =:= 0 end),
    ?assertMatch(#{calls := 0, waiting := 0}, connection(Client, Node)),
    ?assertEqual(0, served(Server)),
    ?assert(counter(Client, aborted) > 0),
    ?assertEqual(counter(Client, aborted), counter(Server, aborted)),
    ?assertEqual(Port, port_of(Client, Node)),
    ok = gen_rpc_test_flow:stop_valve(Valve).

come_and_go(Dest, P) ->
    Size = 20000 * P,
    [case gen_rpc:call(Dest, erlang, byte_size, [binary:copy(<<"x">>, Size)], Timeout, ?LONG) of
         Size -> right;
         {badrpc, timeout} when Timeout < ?LONG -> right;
         Wrong -> {Timeout, Wrong, mailbox()}
     end || Timeout <- [5, 50, 100 + P, 20 * P] ++ [?LONG || P rem 20 =:= 0]].

%%% All together

%% However many calls are given up, at whatever moment, all others get their own results, and nobody
%% finds a message in his mailbox.
many_at_once(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{kill_on_cancel, true}]),
    Node = echo(Client, Node),
    Port = port_of(Client, Node),
    Results = run(Client, fun() -> at_once(60, fun(P) -> give_up_or_not(Node, P) end) end),
    ?assertEqual([right], lists:usort(lists:append(Results))),
    ?assert(counter(Client, calls_cancelled) > 100),
    wait(fun() -> workers(Server) =:= [] end),
    ?assertEqual(Port, port_of(Client, Node)),
    ?assertEqual(0, served(Server)),
    ?assertMatch(#{calls := 0, waiting := 0}, connection(Client, Node)).

%% Every third patient: it must not get another one's result or end.
give_up_or_not(Dest, P) when P rem 3 =:= 0 ->
    [check({P, I, right}, gen_rpc:call(Dest, gen_rpc_test_target, echo_after,
                                       [{P, I, right}, I rem 3], ?LONG)) || I <- lists:seq(1, 60)];
give_up_or_not(Dest, P) ->
    [case gen_rpc:call(Dest, gen_rpc_test_target, echo_after,
                       [binary:copy(<<P>>, 300 * I), I rem 7], I rem 6) of
         {badrpc, timeout} -> none_left();
         Result -> check(binary:copy(<<P>>, 300 * I), Result)
     end || I <- lists:seq(1, 120)].

check(Same, Same) -> none_left();
check(_Expected, Wrong) -> {wrong, Wrong}.

none_left() ->
    case mailbox() of
        [] -> right;
        Left -> {left, length(Left)}
    end.
