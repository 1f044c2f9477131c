%% SPDX-License-Identifier: Apache-2.0
%% Flow control on real nodes: a connection is shared fairly, and whoever is slow, at whatever end,
%% costs the others nothing and itself no memory.
-module(gen_rpc_flow_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([small_beside_large_arguments/1, small_beside_large_results/1, large_ones_share/1,
         large_results_share/1, large_one_beside_small_casts/1]).
-export([stopped_peer_drop/1, stopped_peer_error/1, stopped_peer_block/1,
         calls_wait_within_their_own_time/1, stalled_connection_is_given_up/1,
         stopped_peer_goes_on/1]).
-export([busy_server_is_no_stall/1, slow_acceptor/1, reader_that_stops/1,
         stranger_that_never_reads/1, flood_each_other/1]).
-export([limit_is_of_the_node/1, killed_workers_give_their_place_back/1,
         places_outlive_the_connection/1, limit_is_fair/1, limit_of_large_messages/1,
         ordered_casts_need_no_place/1, invalid_settings/1]).

-import(gen_rpc_test_node, [call/4, run/2, wait/1]).
-import(gen_rpc_test_pair, [lines/2, lines/3]).
-import(gen_rpc_test_flow, [restart/3, restart_with_valve/3, other/1, set/3, set_existing/3,
                            passed/2, at_once/2, echo/2, echo/3, port_of/2, connection/2,
                            counter/2, mailbox/0, served/1, noted/1, compare/2, forget/1, watch/1,
                            watched/1]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(MIB, (1024 * 1024)).
-define(LARGE, (50 * ?MIB)).

%% Bytes that a valve passes in a step: some MB a second.
-define(SLOW, 8192).

%% What a stalled connection may cost, bytes.
-define(COST, 32 * ?MIB).

%% How late a caller may come back when its time is up on a busy machine, ms. All that it says is
%% that it was not the limit of somebody else.
-define(LATE, 5000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, tcp}, {group, tls}].

groups() ->
    Fair = [small_beside_large_arguments, small_beside_large_results, large_ones_share,
            large_results_share, large_one_beside_small_casts],
    [{tcp, [], Fair ++ [stopped_peer_drop, stopped_peer_error, stopped_peer_block,
                        calls_wait_within_their_own_time, stalled_connection_is_given_up,
                        stopped_peer_goes_on, busy_server_is_no_stall, slow_acceptor,
                        reader_that_stops, stranger_that_never_reads, flood_each_other,
                        limit_is_of_the_node, killed_workers_give_their_place_back,
                        places_outlive_the_connection, limit_is_fair, limit_of_large_messages,
                        ordered_casts_need_no_place, invalid_settings]},
     {tls, [], Fair ++ [stopped_peer_drop, stopped_peer_block, stalled_connection_is_given_up,
                        stopped_peer_goes_on, busy_server_is_no_stall, slow_acceptor,
                        reader_that_stops, flood_each_other, limit_is_of_the_node,
                        limit_of_large_messages]}].

init_per_suite(Config) -> gen_rpc_test_flow:start(Config).

end_per_suite(Config) -> gen_rpc_test_flow:stop(Config).

init_per_group(tls, Config) -> [{transport, ssl} | Config];
init_per_group(_Group, Config) -> Config.

end_per_group(_Group, _Config) -> ok.

init_per_testcase(_Case, Config) -> Config.

end_per_testcase(_Case, Config) -> gen_rpc_test_flow:finish(Config).

%%% Fairness, through a valve that passes so little that a large message takes long

%% Hundreds of small calls return while one large argument is under way on their connection.
small_beside_large_arguments(Config) ->
    small_beside(Config, to_server,
                 fun(Node) -> gen_rpc:call(Node, erlang, byte_size, [bytes(?LARGE)], ?LONG) end).

%% The same beside a large result.
small_beside_large_results(Config) ->
    small_beside(Config, to_client,
                 fun(Node) ->
                         Result = gen_rpc:call(Node, binary, copy, [<<"x">>, ?LARGE], ?LONG),
                         byte_size(Result)
                 end).

small_beside(Config, Direction, LargeCall) ->
    {Client, #{node := Node}, Valve} = restart_with_valve(Config, [], []),
    Node = echo(Client, Node),
    ok = set(Valve, Direction, ?SLOW),
    Large = gen_rpc_test_task:start(fun() -> run(Client, fun() -> LargeCall(Node) end) end),
    wait(fun() -> passed(Valve, Direction) > ?MIB end),
    Small = run(Client, fun() -> at_once(20, fun(I) -> small_calls(Node, I, 15) end) end),
    ?assertEqual([{I, 15, []} || I <- lists:seq(1, 20)], Small),
    ?assert(gen_rpc_test_task:is_running(Large)),
    ?assert(passed(Valve, Direction) < ?LARGE),
    ok = set(Valve, Direction, free),
    ?assertEqual(?LARGE, gen_rpc_test_task:result(Large)),
    ok = gen_rpc_test_flow:stop_valve(Valve).

%% One after the other; how many were answered rightly, and what is left behind.
small_calls(Dest, I, N) ->
    Right = [J || J <- lists:seq(1, N),
                  gen_rpc:call(Dest, gen_rpc_test_target, arguments, [{I, J}, padding()], ?LONG) =:=
                      {{I, J}, padding()}],
    {I, length(Right), mailbox()}.

padding() -> <<0:64/unit:8>>.

bytes(N) -> binary:copy(<<"0123456789abcdef">>, N div 16).

%% Large arguments of one connection get the same share each: the first of them that is through is
%% followed by the others at once.
large_ones_share(Config) ->
    large_share(Config, to_server,
                fun(Node, Size) -> gen_rpc:call(Node, erlang, byte_size, [bytes(Size)], ?LONG) end).

%% So do large results.
large_results_share(Config) ->
    large_share(Config, to_client,
                fun(Node, Size) ->
                        byte_size(gen_rpc:call(Node, binary, copy, [<<"x">>, Size], ?LONG))
                end).

large_share(Config, Direction, Call) ->
    {Client, #{node := Node}, Valve} = restart_with_valve(Config, [], []),
    Node = echo(Client, Node),
    Size = 4 * ?MIB,
    ok = set(Valve, Direction, shut),
    Tasks = gen_rpc_test_task:start(
              4, fun(_) ->
                         Size = run(Client, fun() -> Call(Node, Size) end),
                         passed(Valve, Direction)
                 end),
    wait(fun() -> run(Client, fun() -> calls(Node) end) =:= 4 end),
    ok = set(Valve, Direction, ?SLOW * 2),
    [First | _] = lists:sort(gen_rpc_test_task:results(Tasks)),
    %% One after the other it would be a quarter.
    ?assert(First > 4 * Size * 3 div 4, First),
    ok = gen_rpc_test_flow:stop_valve(Valve).

calls(Dest) ->
    #{calls := Calls} = gen_rpc_test_node:local_connection(Dest),
    Calls.

%% A large call gets through although there are always small casts to be sent.
large_one_beside_small_casts(Config) ->
    {Client, #{node := Node} = Server, Valve} = restart_with_valve(Config, [], []),
    ok = call(Server, gen_rpc_test_flow, start_gauge, []),
    Node = echo(Client, Node),
    ok = set(Valve, to_server, 4 * ?SLOW),
    Casters = run(Client, fun() -> [spawn(fun() -> cast_until_told(Node, 0) end)
                                    || _ <- lists:seq(1, 4)]
                          end),
    wait(fun() -> counter(Client, casts_blocked) > 0 end),
    ?assertEqual(?MIB, run(Client, fun() ->
                                           gen_rpc:call(Node, erlang, byte_size, [bytes(?MIB)],
                                                        ?LONG, ?LONG)
                                   end)),
    ?assert(gen_rpc_test_node:call(Client, lists, all, [fun is_process_alive/1, Casters])),
    ok = set(Valve, to_server, free),
    Sent = run(Client, fun() -> lists:sum([stop_caster(Caster) || Caster <- Casters]) end),
    wait(fun() -> maps:get(begun, call(Server, gen_rpc_test_flow, gauge, [])) =:= Sent end),
    ok = gen_rpc_test_flow:stop_valve(Valve).

cast_until_told(Dest, N) ->
    true = gen_rpc:cast(Dest, gen_rpc_test_flow, held, [none, bytes(512)], infinity),
    receive
        {stop, From} -> From ! {self(), N + 1}
    after 0 ->
        cast_until_told(Dest, N + 1)
    end.

stop_caster(Caster) ->
    Caster ! {stop, self()},
    receive {Caster, N} -> N end.

%%% A peer whose process is stopped: its kernel takes some data, and then none

%% Whatever is cast at it costs no memory, and what is dropped is counted. All else arrives, once.
stopped_peer_drop(Config) ->
    stopped_peer(Config, drop, 3000, 100000, 10000,
                 fun(Client, Total, Arrived) ->
                         ?assertEqual(Total, Arrived + counter(Client, casts_dropped)),
                         ?assertEqual(0, counter(Client, casts_blocked)),
                         ?assertMatch([#{reason := overload} | _], lines(Client, "cast dropped"))
                 end).

%% With the policy error the caller hears of each that is not taken, at once.
stopped_peer_error(Config) ->
    stopped_peer(Config, error, 3000, 100000, 10000,
                 fun(Client, Total, Arrived) ->
                         ?assertEqual(Total, Arrived + counter(Client, casts_refused)),
                         ?assertEqual(0, counter(Client, casts_dropped)),
                         ?assertEqual(0, counter(Client, casts_blocked))
                 end).

%% With the policy block each waits as long as it says, and is dropped then.
stopped_peer_block(Config) ->
    stopped_peer(Config, block, 1, 3000, 400,
                 fun(Client, Total, Arrived) ->
                         Dropped = counter(Client, casts_dropped),
                         ?assertEqual(Total, Arrived + Dropped),
                         ?assertEqual(Dropped, counter(Client, casts_blocked)),
                         ?assert(counter(Client, casts_blocked_ms) >= Dropped),
                         ?assertMatch([#{reason := send_timeout} | _],
                                      lines(Client, "cast dropped"))
                 end).

stopped_peer(Config, Policy, SendTimeout, Small, Large, Check) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{send_timeout, ?LONG}, {cast_overload_policy, Policy}], []),
    Other = maps:get(node, other(Config)),
    ok = forget(Server),
    [Node = echo(Client, Dest) || Dest <- [Node, {Node, key}]],
    Before = port_of(Client, Node),
    SmallSize = case Policy of block -> 8192; _ -> 100 end,
    Frozen = gen_rpc_test_node:freeze(Server),
    {Refused, Grown} =
        try
            ok = watch(Client),
            R = run(Client, fun() ->
                                    cast_all(Node, 1, Small, SmallSize, SendTimeout) +
                                        cast_all(Node, Small + 1, Small + Large, 100000,
                                                 SendTimeout)
                            end),
            Other = echo(Client, Other),
            {R, watched(Client)}
        after
            gen_rpc_test_node:thaw(Frozen)
        end,
    ct:pal("grown: ~p, refused: ~p", [Grown, Refused]),
    ?assertMatch(#{rss := Rss, binary := Binary} when Rss =< ?COST andalso Binary =< ?COST, Grown),
    %% Behind all that was taken; a large one may still be under way.
    Node = echo(Client, Node),
    Total = Small + Large,
    wait(fun() -> length(noted(Server)) + counter(Client, casts_dropped) + Refused =:= Total end),
    Arrived = noted(Server),
    ?assert(length(Arrived) > 0),
    ?assert(length(Arrived) < Total),
    ?assertEqual(length(Arrived), length(lists:usort(Arrived))),
    ?assertEqual(Refused, counter(Client, casts_refused)),
    Check(Client, Total, length(Arrived)),
    ?assertEqual(Before, port_of(Client, Node)).

%% Each with a binary of its own. How many were refused with the error of the policy; nothing is
%% left in the mailbox.
cast_all(Dest, From, To, Size, SendTimeout) ->
    Refused = length([I || I <- lists:seq(From, To), not cast(Dest, I, bytes(Size), SendTimeout)]),
    [] = mailbox(),
    Refused.

cast(Dest, I, Luggage, SendTimeout) ->
    try
        gen_rpc:cast(Dest, gen_rpc_test_flow, note, [I, Luggage], SendTimeout)
    catch
        error:overload -> false
    end.

%% Calls to it come back when their own time is up, whether they are sent or wait for room: with
%% send_timeout if it is SendTimeout that has passed. A cast that blocks waits for its own, too.
calls_wait_within_their_own_time(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    Node = echo(Client, Node),
    Frozen = gen_rpc_test_node:freeze(Server),
    try
        %% Sent, or taken to be sent.
        _ = [begin
                 {Result, Time, Left} = run(Client, fun() -> timed_call(Node, Size, T, T) end),
                 ?assertEqual({{badrpc, timeout}, []}, {Result, Left}),
                 ?assert(Time >= T andalso Time < T + ?LATE, Time)
             end || Size <- [16, 100000], T <- [0, 1, 100]],
        %% Fill all that there is to be filled.
        [_ = run(Client, fun() -> at_once(N, fun(_) -> timed_call(Node, Size, 300, 300) end) end)
         || {N, Size} <- [{70, 1000000}, {2000, 16000}]],
        ?assert(counter(Client, calls_blocked) > 0),
        [begin
             Results = run(Client, fun() -> at_once(10, fun(_) -> timed_call(Node, 16000, T, S) end)
                                   end),
             [begin
                  ?assertEqual({Expected, []}, {Result, Left}),
                  Limit = min(T, S),
                  ?assert(Time >= Limit andalso Time < Limit + ?LATE, Time)
              end || {Result, Time, Left} <- Results]
         end || {T, S, Expected} <- [{200, ?LONG, {badrpc, timeout}},
                                     {200, infinity, {badrpc, timeout}},
                                     {?LONG, 200, {badtcp, send_timeout}},
                                     {infinity, 200, {badtcp, send_timeout}},
                                     {infinity, 0, {badtcp, send_timeout}},
                                     {0, infinity, {badrpc, timeout}}]],
        ?assert(counter(Client, calls_send_timeout) >= 30),
        {Time, true} = run(Client, fun() ->
                                           timed(fun() -> cast(Node, 0, bytes(16000), 200) end)
                                   end),
        ?assert(Time >= 200 andalso Time < 200 + ?LATE, Time)
    after
        gen_rpc_test_node:thaw(Frozen)
    end,
    %% None of them is started when it is awake again: their time is up.
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(0, maps:get(waiting, connection(Client, Node))).

timed_call(Dest, Size, Timeout, SendTimeout) ->
    Luggage = bytes(Size),
    {Time, Result} = timed(fun() ->
                                   gen_rpc:call(Dest, erlang, byte_size, [Luggage], Timeout,
                                                SendTimeout)
                           end),
    {Result, Time, mailbox()}.

timed(Fun) ->
    Start = erlang:monotonic_time(millisecond),
    Result = Fun(),
    {erlang:monotonic_time(millisecond) - Start, Result}.

%% A connection that makes no progress for send_timeout is given up: whoever waits for an answer
%% hears why, and what was not sent may be tried again. Calls with another key, and to another node,
%% go on all the time.
stalled_connection_is_given_up(Config) ->
    {Client, #{node := Node} = Server, Valve} =
        restart_with_valve(Config, [{send_timeout, 1000}], []),
    Other = maps:get(node, other(Config)),
    ok = forget(Server),
    Node = echo(Client, Node),
    Before = port_of(Client, Node),
    ok = set_existing(Valve, to_server, shut),
    [Node, Other] = [echo(Client, Dest) || Dest <- [{Node, key}, Other]],
    Watchers = [{Dest, run(Client, fun() -> spawn(fun() -> call_until_told(Dest, 0) end) end)}
                || Dest <- [{Node, key}, Other]],
    ok = watch(Client),
    Calls = gen_rpc_test_task:start(
              30, fun(I) ->
                          Size = case I rem 2 of 0 -> 16; 1 -> 500000 end,
                          run(Client, fun() ->
                                              {gen_rpc:call(Node, gen_rpc_test_flow, note,
                                                            [I, bytes(Size)], ?LONG, ?LONG),
                                               mailbox()}
                                      end)
                  end),
    wait(fun() -> maps:get(calls, connection(Client, Node)) =:= 30 end),
    _ = run(Client, fun() -> cast_all(Node, 100, 1000, 100000, 0) end),
    Results = gen_rpc_test_task:results(Calls),
    #{rss := Rss} = watched(Client),
    ?assert(Rss =< ?COST, Rss),
    %% Those of which a byte has left, and those of which none has.
    ?assert(lists:member({{badtcp, send_timeout}, []}, Results)),
    ?assertEqual([], [Result || Result <- Results, Result =/= {{badtcp, send_timeout}, []},
                                Result =/= {{badrpc, nodedown}, []}]),
    ?assertMatch([#{reason := send_timeout}], lines(Client, "connection lost", 1)),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertNotEqual(Before, port_of(Client, Node)),
    [begin
         {N, Wrong} = run(Client, fun() -> stop_caster(Watcher) end),
         ?assertEqual({Dest, []}, {Dest, Wrong}),
         ?assert(N > 10, {Dest, N})
     end || {Dest, Watcher} <- Watchers],
    ok = gen_rpc_test_flow:stop_valve(Valve).

%% Their number and those that went wrong. With the application it ends by itself.
call_until_told(Dest, N) ->
    Node = gen_rpc_dest:node(Dest),
    case catch gen_rpc:call(Dest, erlang, node, [], ?LONG) of
        Node ->
            receive
                {stop, From} -> From ! {self(), {N + 1, []}}
            after 1 ->
                call_until_told(Dest, N + 1)
            end;
        Wrong ->
            receive {stop, From} -> From ! {self(), {N, [Wrong]}} end
    end.

%% A peer that is awake again before send_timeout has missed nothing, and gets nothing twice.
stopped_peer_goes_on(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = forget(Server),
    Node = echo(Client, Node),
    Before = port_of(Client, Node),
    Frozen = gen_rpc_test_node:freeze(Server),
    Sizes = {16, 1000, 16000, 17000, 100000, 1000000},
    {Calls, Casts} =
        try
            Cs = gen_rpc_test_task:start(
                   fun() ->
                           run(Client, fun() ->
                                               at_once(200, fun(I) ->
                                                                    ledger_call(Node, I, Sizes)
                                                            end)
                                       end)
                   end),
            Ss = gen_rpc_test_task:start(
                   20, fun(P) ->
                               run(Client, fun() -> ledger_casts(Node, P, 50, Sizes) end)
                       end),
            wait(fun() -> maps:get(waiting, connection(Client, Node)) > 20 end),
            {Cs, Ss}
        after
            gen_rpc_test_node:thaw(Frozen)
        end,
    ?assertEqual(lists:duplicate(200, {ok, []}), gen_rpc_test_task:result(Calls)),
    ?assertEqual(lists:duplicate(20, []), gen_rpc_test_task:results(Casts)),
    Expected = [{call, I} || I <- lists:seq(1, 200)] ++
        [{cast, P, I} || P <- lists:seq(1, 20), I <- lists:seq(1, 50)],
    wait(fun() -> length(noted(Server)) >= length(Expected) end),
    ?assertEqual({[], []}, compare(Expected, noted(Server))),
    ?assertEqual(Before, port_of(Client, Node)),
    ?assertEqual([], lines(Client, "cast dropped")).

ledger_call(Dest, I, Sizes) ->
    Luggage = bytes(element(1 + I rem tuple_size(Sizes), Sizes)),
    {gen_rpc:call(Dest, gen_rpc_test_flow, note, [{call, I}, Luggage], ?LONG, ?LONG), mailbox()}.

ledger_casts(Dest, P, N, Sizes) ->
    [true = gen_rpc:cast(Dest, gen_rpc_test_flow, note,
                         [{cast, P, I}, bytes(element(1 + I rem tuple_size(Sizes), Sizes))],
                         infinity) || I <- lists:seq(1, N)],
    mailbox().

%%% Servers that are slow

%% A server that has as many workers as it may, for longer than send_timeout, keeps its connection:
%% it lives. Callers wait within their own time, and what they have given up is never started.
busy_server_is_no_stall(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{send_timeout, 500}], [{send_timeout, 500}, {max_concurrent_calls, 2}]),
    ok = start_work(Server),
    Node = echo(Client, Node),
    Before = port_of(Client, Node),
    Held = held_calls(Client, Node, 2),
    wait(fun() -> at_work(Server) =:= 2 end),
    %% More than a window, so that the client has to wait, too.
    Casts = gen_rpc_test_task:start(
              4, fun(P) -> run(Client, fun() -> ledger_casts(Node, P, 500, {8000, 8000}) end) end),
    wait(fun() -> maps:get(waiting, connection(Client, Node)) > 0 end),
    %% Four times send_timeout.
    Impatient = run(Client, fun() ->
                                    at_once(20, fun(I) ->
                                                        gen_rpc:call(Node, gen_rpc_test_flow, note,
                                                                     [{impatient, I}, <<>>], 2000,
                                                                     infinity)
                                                end)
                            end),
    ?assertEqual(lists:duplicate(20, {badrpc, timeout}), Impatient),
    %% What is late for less than two clocks can tell may be started.
    ?assertEqual({badrpc, timeout}, echo(Client, Node, 100)),
    ?assertEqual(2, at_work(Server)),
    ?assertEqual([], noted(Server)),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    ?assertEqual([1, 2], lists:sort(gen_rpc_test_task:results(Held))),
    ?assertEqual(lists:duplicate(4, []), gen_rpc_test_task:results(Casts)),
    wait(fun() -> length(noted(Server)) >= 2000 end),
    ?assertEqual({[], []}, compare([{cast, P, I} || P <- lists:seq(1, 4), I <- lists:seq(1, 500)],
                                   noted(Server))),
    ?assertEqual(Before, port_of(Client, Node)),
    ?assertEqual([], lines(Client, "connection lost")).

%% A gauge, a closed gate, and an empty ledger.
start_work(Server) ->
    ok = forget(Server),
    ok = call(Server, gen_rpc_test_flow, start_gauge, []),
    call(Server, gen_rpc_test_flow, close_gate, []).

held_calls(Client, Dest, N) ->
    gen_rpc_test_task:start(
      N, fun(I) ->
                 call(Client, gen_rpc, call, [Dest, gen_rpc_test_flow, held, [I], ?LONG, ?LONG])
         end).

at_work(Server) ->
    maps:get(now, call(Server, gen_rpc_test_flow, gauge, [])).

most(Server) ->
    maps:get(most, call(Server, gen_rpc_test_flow, gauge, [])).

%% While an acceptor does not run, what is cast at it waits at the client, and in nobody's memory;
%% then all of it arrives.
slow_acceptor(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = forget(Server),
    Node = echo(Client, Node),
    ok = run(Server, fun() -> sys:suspend(acceptor()) end),
    ok = watch(Client),
    ok = watch(Server),
    Casts = gen_rpc_test_task:start(
              4, fun(P) ->
                         run(Client, fun() ->
                                             ledger_casts(Node, P, 1000, {100, 8000, 100000})
                                     end)
                 end),
    wait(fun() -> maps:get(waiting, connection(Client, Node)) =:= 4 end),
    ?assertEqual({badrpc, timeout}, echo(Client, Node, 500)),
    ?assertEqual([], noted(Server)),
    [?assertMatch(#{rss := Rss} when Rss =< ?COST, watched(N)) || N <- [Client, Server]],
    ok = run(Server, fun() -> sys:resume(acceptor()) end),
    ?assertEqual(lists:duplicate(4, []), gen_rpc_test_task:results(Casts)),
    wait(fun() -> length(noted(Server)) >= 4000 end),
    ?assertEqual({[], []}, compare([{cast, P, I} || P <- lists:seq(1, 4), I <- lists:seq(1, 1000)],
                                   noted(Server))),
    ?assertEqual(Node, echo(Client, Node)).

acceptor() ->
    [{_, Acceptor, _, _}] = supervisor:which_children(gen_rpc_acceptor_sup),
    Acceptor.

%% A client that takes no replies is not served any more when they have become too many, and is
%% given up after send_timeout. Another one is served all the time.
reader_that_stops(Config) ->
    {Client, #{node := Node} = Server, Valve} =
        restart_with_valve(Config, [{send_timeout, ?LONG}], [{send_timeout, 1000}]),
    Node = echo(Client, Node),
    ok = set_existing(Valve, to_client, shut),
    Node = echo(Client, {Node, key}),
    ok = watch(Server),
    Calls = gen_rpc_test_task:start(
              fun() ->
                      run(Client, fun() ->
                                          at_once(5000, fun(_) ->
                                                                gen_rpc:call(Node, binary, copy,
                                                                             [<<"x">>, 100000],
                                                                             ?LONG, ?LONG)
                                                        end)
                                  end)
              end),
    wait(fun() ->
                 Node = echo(Client, {Node, key}),
                 lines(Server, "incoming connection lost") =/= []
         end),
    ?assertMatch([#{reason := send_timeout}], lines(Server, "incoming connection lost")),
    Grown = watched(Server),
    ct:pal("grown: ~p", [Grown]),
    ?assertMatch(#{processes := P, rss := Rss} when P < 2000 andalso Rss < 160 * ?MIB, Grown),
    %% What had left the server may arrive yet.
    ok = set(Valve, to_client, free),
    ?assertMatch([{badtcp, _}], lists:usort([Result || Result <- gen_rpc_test_task:result(Calls),
                                                       not is_binary(Result)])),
    ?assertEqual(Node, echo(Client, Node)),
    ok = gen_rpc_test_flow:stop_valve(Valve).

%% A stranger with the cookie that sends requests as long as they are taken, and never reads.
stranger_that_never_reads(Config) ->
    {_, #{node := Node, port := Port} = Server} = restart(Config, [], [{send_timeout, 1000}]),
    ok = watch(Server),
    Socket = gen_rpc_test_stranger:connect(Port),
    ok = gen_rpc_test_stranger:login(Socket, <<"stranger@host">>, atom_to_binary(Node),
                                     atom_to_binary(gen_rpc_test)),
    Body = term_to_binary({lists, seq, [1, 2000]}),
    %% No more than fit into the window.
    N = ?MIB div (16 + byte_size(Body)),
    Requests = [gen_rpc_test_stranger:frame(1, I, Body) || I <- lists:seq(1, N)],
    ok = inet:setopts(Socket, [{send_timeout, 10000}]),
    ok = gen_tcp:send(Socket, Requests),
    ?assertMatch([#{reason := send_timeout}], lines(Server, "incoming connection lost", 1)),
    Grown = watched(Server),
    ct:pal("~b requests, grown: ~p", [N, Grown]),
    ?assertMatch(#{processes := P, rss := Rss} when P < 2000 andalso Rss < 128 * ?MIB, Grown),
    ok = gen_tcp:close(Socket).

%% Two nodes that flood each other with everything: all of it is through in the end.
flood_each_other(Config) ->
    {#{node := Back} = Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = know_the_way(Server, Client),
    [ok = forget(N) || N <- [Client, Server]],
    Floods = [gen_rpc_test_task:start(fun() -> run(From, fun() -> flood(To) end) end)
              || {From, To} <- [{Client, Node}, {Server, Back}]],
    Results = gen_rpc_test_task:results(Floods),
    ?assertEqual([[], []], [[Wrong || Wrong <- Result, Wrong =/= right] || Result <- Results]),
    [wait(fun() -> length(noted(N)) >= 8 * 300 end) || N <- [Client, Server]],
    [?assertEqual(8 * 300, length(lists:usort(noted(N)))) || N <- [Client, Server]].

flood(Dest) ->
    lists:append(
      at_once(24, fun(P) when P =< 8 ->
                          [true = gen_rpc:cast(Dest, gen_rpc_test_flow, note,
                                               [{P, I}, bytes(16 + 500 * (I rem 100))], infinity)
                           || I <- lists:seq(1, 300)],
                          [right];
                     (P) when P =< 16 ->
                          [check(I, flood_call(Dest, gen_rpc_test_target, echo, [I]))
                           || I <- lists:seq(1, 500)];
                     (P) when P =< 20 ->
                          [check(2 * ?MIB, flood_call(Dest, erlang, byte_size, [bytes(2 * ?MIB)]))
                           || _ <- lists:seq(1, 15)];
                     (_) ->
                          [check(bytes(?MIB),
                                 flood_call(Dest, binary, copy, [bytes(16), ?MIB div 16]))
                           || _ <- lists:seq(1, 30)]
                  end)).

flood_call(Dest, M, F, A) ->
    gen_rpc:call(Dest, M, F, A, ?LONG, ?LONG).

check(Same, Same) -> right;
check(_Expected, Wrong) when is_binary(Wrong) -> {wrong, byte_size(Wrong)};
check(_Expected, Wrong) -> {wrong, Wrong}.

%% The server is a client as well, always over TCP.
know_the_way(Server, Client) ->
    {Key, Ways} = gen_rpc_test_node:env([Client]),
    ok = call(Server, application, set_env, [gen_rpc, Key, Ways]),
    call(Server, gen_rpc_config, load, [call(Server, application, get_all_env, [gen_rpc])]).

%%% max_concurrent_calls

%% The limit is for the node: all connections, keys and clients together, calls and casts.
limit_is_of_the_node(Config) ->
    {Client, #{node := Node, port := Port} = Server} =
        restart(Config, [{send_timeout, ?LONG}], [{max_concurrent_calls, 5}]),
    ok = start_work(Server),
    Other = gen_rpc_test_node:start([{client_config_per_node, {internal, #{Node => {tcp, Port}}}}]),
    Dests = [Node, {Node, a}, {Node, b}],
    Held = [held_calls(From, Dest, 10) || {From, Dest} <- [{Client, D} || D <- Dests] ++
                                              [{Other, Node}]],
    _ = run(Client, fun() ->
                            [true = gen_rpc:cast(Dest, gen_rpc_test_flow, held, [I])
                             || Dest <- Dests, I <- lists:seq(1, 10)]
                    end),
    wait(fun() -> served(Server) =:= 40 andalso at_work(Server) =:= 5 end),
    ?assertEqual(#{now => 5, most => 5, begun => 5}, call(Server, gen_rpc_test_flow, gauge, [])),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    ?assertEqual(lists:duplicate(4, lists:seq(1, 10)),
                 [gen_rpc_test_task:results(Tasks) || Tasks <- Held]),
    wait(fun() -> maps:get(begun, call(Server, gen_rpc_test_flow, gauge, [])) =:= 70 end),
    _ = run(Client, fun() ->
                            at_once(20, fun(P) ->
                                                Dest = lists:nth(1 + P rem 3, Dests),
                                                [gen_rpc:call(Dest, gen_rpc_test_flow, brief,
                                                              [{P, I}], ?LONG)
                                                 || I <- lists:seq(1, 50)]
                                        end)
                    end),
    ?assertEqual(1000, length(lists:usort(noted(Server)))),
    wait(fun() -> at_work(Server) =:= 0 end),
    ?assertEqual(5, most(Server)),
    ok = gen_rpc_test_node:stop(Other).

%% A worker that is killed gives its place back, and its caller hears of it.
killed_workers_give_their_place_back(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{send_timeout, ?LONG}], [{max_concurrent_calls, 3}]),
    ok = start_work(Server),
    Dests = [Node, {Node, a}],
    Held = lists:append([held_calls(Client, Dest, 15) || Dest <- Dests]),
    [true = call(Client, gen_rpc, cast, [Dest, gen_rpc_test_flow, held, [x]]) || Dest <- Dests],
    ok = kill_workers(Server, 32),
    ?assertEqual(lists:duplicate(30, {badrpc, {'EXIT', killed}}),
                 gen_rpc_test_task:results(Held)),
    [?assertEqual(Node, echo(Client, Dest)) || Dest <- Dests],
    ?assertEqual(32, maps:get(begun, call(Server, gen_rpc_test_flow, gauge, []))).

kill_workers(_Server, 0) ->
    ok;
kill_workers(Server, Left) ->
    Killed = run(Server, fun() ->
                                 Pids = gen_rpc_test_flow:worker_pids(),
                                 true = length(Pids) =< 3,
                                 [begin
                                      Monitor = monitor(process, Pid),
                                      exit(Pid, kill),
                                      receive {'DOWN', Monitor, _, _, Reason} -> Reason end
                                  end || Pid <- Pids]
                         end),
    kill_workers(Server, Left - length([killed || killed <- Killed])).

%% Workers whose connection is gone run on, and count until they end.
places_outlive_the_connection(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{max_concurrent_calls, 2}]),
    ok = start_work(Server),
    [Node = echo(Client, Dest) || Dest <- [Node, {Node, a}]],
    Held = held_calls(Client, Node, 2),
    wait(fun() -> at_work(Server) =:= 2 end),
    {ok, Port} = port_of(Client, Node),
    true = run(Client, fun() -> exit(Port, kill) end),
    [?assertMatch({badtcp, _}, Result) || Result <- gen_rpc_test_task:results(Held)],
    [?assertEqual({badrpc, timeout},
                  call(Client, gen_rpc, call, [Dest, gen_rpc_test_flow, note, [early, <<>>], 300]))
     || Dest <- [Node, {Node, a}, {Node, b}]],
    ?assertEqual(2, at_work(Server)),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    [?assertEqual(Node, echo(Client, Dest)) || Dest <- [Node, {Node, a}, {Node, b}]],
    wait(fun() -> at_work(Server) =:= 0 end),
    ?assertEqual([], noted(Server)),
    wait(fun() -> length(gen_rpc_test_node:acceptors(Server)) =:= 3 end),
    %% Both places are there.
    ok = start_work(Server),
    Again = held_calls(Client, Node, 2),
    wait(fun() -> at_work(Server) =:= 2 end),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    ?assertEqual([1, 2], gen_rpc_test_task:results(Again)).

%% A connection with a thousand requests does not keep another one from its turn.
limit_is_fair(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{send_timeout, ?LONG}], [{max_concurrent_calls, 1}]),
    ok = start_work(Server),
    [Node = echo(Client, Dest) || Dest <- [Node, {Node, a}, {Node, b}]],
    Held = held_calls(Client, Node, 1),
    wait(fun() -> at_work(Server) =:= 1 end),
    Tasks = [gen_rpc_test_task:start(
               fun() -> run(Client, fun() -> at_once(N, fun(I) -> brief_call(Dest, I) end) end) end)
             || {Dest, N} <- [{{Node, a}, 1000}, {{Node, b}, 5}],
                begin
                    wait(fun() -> N =:= 1000 orelse served(Server) =:= 1001 end),
                    true
                end],
    wait(fun() -> served(Server) =:= 1006 end),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    [1] = gen_rpc_test_task:results(Held),
    [?assertEqual([ok], lists:usort(gen_rpc_test_task:result(Task))) || Task <- Tasks],
    Noted = noted(Server),
    ?assertEqual(1005, length(Noted)),
    Places = [Place || {Place, {{_, b}, _}} <- lists:zip(lists:seq(1, 1005), Noted)],
    ct:pal("turns of the other one: ~w", [Places]),
    %% They take turns, one by one.
    ?assert(lists:max(Places) < 20, Places),
    ?assertEqual(1, most(Server)).

brief_call(Dest, I) ->
    gen_rpc:call(Dest, gen_rpc_test_flow, brief, [{Dest, I}], ?LONG, ?LONG).

%% Requests in fragments wait for a place, too, and small ones need not wait for their bytes.
limit_of_large_messages(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{send_timeout, 500}], [{max_concurrent_calls, 3}]),
    ok = start_work(Server),
    Node = echo(Client, Node),
    Held = gen_rpc_test_task:start(
             100, fun(I) ->
                          run(Client, fun() ->
                                              gen_rpc:call(Node, gen_rpc_test_flow, held,
                                                           [I, bytes(100000)], ?LONG, ?LONG)
                                      end)
                  end),
    wait(fun() -> [#{held := Bytes}] = gen_rpc_test_node:acceptors(Server), Bytes > ?MIB end),
    ?assertEqual(3, at_work(Server)),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    ?assertEqual(lists:seq(1, 100), gen_rpc_test_task:results(Held)),
    ?assertEqual(3, most(Server)).

%% Those run one after the other anyway: they have their turn beside a full house, and take no
%% place.
ordered_casts_need_no_place(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{max_concurrent_calls, 1}]),
    ok = start_work(Server),
    Node = echo(Client, Node),
    Held = held_calls(Client, Node, 1),
    wait(fun() -> at_work(Server) =:= 1 end),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, note, [beside, <<>>]]),
    wait(fun() -> noted(Server) =:= [beside] end),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, held, [slow]]),
    wait(fun() -> at_work(Server) =:= 2 end),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    [1] = gen_rpc_test_task:results(Held),
    ?assertEqual(Node, echo(Client, Node)).

%% What is no limit, no policy, no switch: the application does not start and says why.
invalid_settings(Config) ->
    gen_rpc_test_flow:refuse(Config, [{max_concurrent_calls, [0, -1, 16#100000000, unlimited, "5"]},
                                      {cast_overload_policy, [wait, true, undefined]},
                                      {kill_on_cancel, [1, undefined]},
                                      {send_timeout, [0, -1, never]}]).
