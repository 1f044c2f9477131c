%% SPDX-License-Identifier: Apache-2.0
%% What has to be in order, on real nodes: ordered casts, and messages to registered processes.
%% Their order, one at a time, whatever size they have and however they end; and nobody else waits.
-module(gen_rpc_ordered_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([sizes_of_all_kinds/1, sizes_around_a_frame/1, several_processes/1, destinations/1,
         one_at_a_time/1, however_they_end/1, beside_calls/1, waiting_for_a_call/1]).
-export([limit_drop/1, limit_error/1, limit_block/1, order_across_the_limit/1,
         stopped_peer/1, connection_is_lost/1]).
-export([abcast_in_order/1, abcast_of_several_processes/1, abcast_to_nobody/1, abcast_overload/1,
         beside_a_slow_ordered_cast/1, sbcast_results/1, sbcast_one_time_limit/1,
         sbcast_in_order/1, given_up_sbcasts/1]).
-export([own_node/1, own_node_limit/1, bad_arguments/1]).

-export([collect/2, send_collected/2]).

-import(gen_rpc_test_node, [call/4, run/2, wait/1]).
-import(gen_rpc_test_pair, [lines/2]).
-import(gen_rpc_test_flow, [restart/3, other/1, at_once/2, echo/2, echo/3, port_of/2, connection/2,
                            counter/2, mailbox/0, noted/1, forget/1, watch/1,
                            watched/1]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(MIB, (1024 * 1024)).

%% What a stalled lane may cost, bytes.
-define(COST, 32 * ?MIB).

%% The name of a process on the server that gathers what comes.
-define(NAME, gen_rpc_test_collector).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, tcp}, {group, tls}].

groups() ->
    Both = [sizes_of_all_kinds, sizes_around_a_frame, several_processes, one_at_a_time,
            order_across_the_limit, abcast_in_order, sbcast_in_order, given_up_sbcasts],
    [{tcp, [], Both ++ [destinations, however_they_end, beside_calls, waiting_for_a_call,
                        limit_drop, limit_error, limit_block, stopped_peer, connection_is_lost,
                        abcast_of_several_processes, abcast_to_nobody, abcast_overload,
                        beside_a_slow_ordered_cast, sbcast_results, sbcast_one_time_limit, own_node,
                        own_node_limit, bad_arguments]},
     {tls, [], Both}].

init_per_suite(Config) -> gen_rpc_test_flow:start(Config).

end_per_suite(Config) -> gen_rpc_test_flow:stop(Config).

init_per_group(tls, Config) -> [{transport, ssl} | Config];
init_per_group(_Group, Config) -> Config.

end_per_group(_Group, _Config) -> ok.

init_per_testcase(_Case, Config) -> Config.

end_per_testcase(_Case, Config) -> gen_rpc_test_flow:finish(Config).

%%% Order

%% Whatever their size, small ones, in fragments and alternating, ordered casts run in their order.
sizes_of_all_kinds(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = forget(Server),
    Sizes = [1, 5 * ?MIB, 1, 100, 20000, 16000, 1, ?MIB, 70000, 3, 65536, 65500, 1000] ++
        [1 + I * I * 37 rem 200000 || I <- lists:seq(1, 200)] ++ [3 * ?MIB, 1, 2, 3],
    [] = run(Client, fun() -> cast_sizes(Node, Sizes), mailbox() end),
    N = length(Sizes),
    wait(fun() -> length(noted(Server)) >= N end),
    ?assertEqual([{I, Size} || {I, Size} <- lists:zip(lists:seq(1, N), Sizes)], noted(Server)),
    ?assertMatch(#{output := 0, waiting := 0}, connection(Client, Node)).

%% The last one that fits into a frame, and the first one that does not.
sizes_around_a_frame(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = forget(Server),
    Sizes = lists:seq(16200, 16400) ++ lists:seq(65300, 65550, 10),
    [] = run(Client, fun() -> cast_sizes(Node, Sizes), mailbox() end),
    wait(fun() -> length(noted(Server)) >= length(Sizes) end),
    ?assertEqual(lists:zip(lists:seq(1, length(Sizes)), Sizes), noted(Server)).

cast_sizes(Dest, Sizes) ->
    [true = gen_rpc:ordered_cast(Dest, ?MODULE, collect, [I, bytes(Size)])
     || {I, Size} <- lists:zip(lists:seq(1, length(Sizes)), Sizes)].

bytes(Size) -> binary:copy(<<"x">>, Size).

%% Notes what came with it, too.
collect(I, Luggage) ->
    gen_rpc_test_target:count({I, byte_size(Luggage)}).

%% Each process has its own order, and none is forgotten.
several_processes(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = forget(Server),
    _ = run(Client, fun() ->
                            at_once(6, fun(P) ->
                                               [true = gen_rpc:ordered_cast(
                                                         Node, gen_rpc_test_flow, note,
                                                         [{P, I}, bytes(P * I * 13 rem 30000)])
                                                || I <- lists:seq(1, 300)]
                                       end)
                    end),
    wait(fun() -> length(noted(Server)) >= 1800 end),
    Noted = noted(Server),
    [?assertEqual({P, lists:seq(1, 300)}, {P, [I || {Q, I} <- Noted, Q =:= P]})
     || P <- lists:seq(1, 6)],
    ?assertEqual(1800, length(Noted)).

%% Each destination has an order of its own: a slow one delays no other.
destinations(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, held, [slow]]),
    wait(fun() -> at_work(Server) =:= 1 end),
    Keys = [a, {b, 1}, "c"],
    Dests = [Node | [{Node, Key} || Key <- Keys]],
    _ = run(Client, fun() ->
                            [true = gen_rpc:ordered_cast(Dest, gen_rpc_test_flow, note,
                                                         [{Dest, I}, 0])
                             || I <- lists:seq(1, 50), Dest <- Dests]
                    end),
    wait(fun() -> length(noted(Server)) =:= 150 end),
    ?assertEqual([{Key, lists:seq(1, 50)} || Key <- Keys],
                 [{Key, [I || {{_, K}, I} <- noted(Server), K =:= Key]} || Key <- Keys]),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    wait(fun() -> length(noted(Server)) =:= 200 end),
    ?assertEqual(lists:seq(1, 50), [I || {N, I} <- noted(Server), N =:= Node]).

start_work(Server) ->
    ok = forget(Server),
    ok = call(Server, gen_rpc_test_flow, start_gauge, []),
    call(Server, gen_rpc_test_flow, close_gate, []).

at_work(Server) ->
    maps:get(now, call(Server, gen_rpc_test_flow, gauge, [])).

%% Never two of them at once, from however many processes they come.
one_at_a_time(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = forget(Server),
    ok = call(Server, gen_rpc_test_flow, start_gauge, []),
    _ = run(Client, fun() ->
                            at_once(8, fun(P) ->
                                               [true = gen_rpc:ordered_cast(
                                                         Node, gen_rpc_test_flow, brief,
                                                         [{P, I}, bytes(100 * P * P)])
                                                || I <- lists:seq(1, 100)]
                                       end)
                    end),
    wait(fun() -> length(noted(Server)) =:= 800 end),
    ?assertMatch(#{most := 1, begun := 800}, call(Server, gen_rpc_test_flow, gauge, [])).

%% One that fails, exits, throws, is killed or kills does not disturb the next one.
however_they_end(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = forget(Server),
    %% Without those that take very long to say how they ended.
    Endings = [MFA || {_, {M, F, A} = MFA} <- gen_rpc_test_target:endings(),
                      is_atom(M), is_atom(F), is_list(A), proper(A)],
    N = length(Endings),
    Runner = [runner(Server)],
    _ = run(Client, fun() ->
                            [begin
                                 true = gen_rpc:ordered_cast(Node, M, F, A),
                                 true = gen_rpc:ordered_cast(Node, gen_rpc_test_flow, note, [I, 0])
                             end || {I, {M, F, A}} <- lists:zip(lists:seq(1, N), Endings)]
                    end),
    ?assertEqual([none], Runner),
    wait(fun() -> length(noted(Server)) >= N end),
    ?assertEqual(lists:seq(1, N), noted(Server)),
    %% One that never ends is killed by hand.
    ok = start_work(Server),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, held, [slow]]),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, note, [behind, 0]]),
    wait(fun() -> at_work(Server) =:= 1 end),
    ok = run(Server, fun() ->
                             [Pid] = gen_rpc_test_flow:worker_pids(),
                             true = exit(Pid, kill),
                             ok
                     end),
    wait(fun() -> noted(Server) =:= [behind] end),
    ?assertEqual(Node, echo(Client, Node)).

proper(A) ->
    try length(A) of
        _ -> true
    catch
        error:badarg -> false
    end.

%% There is none before it is needed.
runner(Server) ->
    run(Server, fun() ->
                        case [Pid || Pid <- processes(),
                                     {dictionary, D} <- [process_info(Pid, dictionary)],
                                     {_, {gen_rpc_ordered, init, 1}} <-
                                         [lists:keyfind('$initial_call', 1, D)]] of
                            [] -> none;
                            [Pid | _] -> Pid
                        end
                end).

%% Calls and casts do not wait for an ordered cast that runs, nor for those behind it.
beside_calls(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, held, [slow]]),
    [true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, note, [I, bytes(50000)]])
     || I <- lists:seq(1, 10)],
    wait(fun() -> at_work(Server) =:= 1 end),
    ?assertEqual([Node], lists:usort([echo(Client, Node) || _ <- lists:seq(1, 100)])),
    ?assertEqual(?MIB, call(Client, gen_rpc, call, [Node, erlang, byte_size, [bytes(?MIB)]])),
    true = call(Client, gen_rpc, cast, [Node, gen_rpc_test_flow, note, [cast, 0]]),
    wait(fun() -> noted(Server) =:= [cast] end),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    wait(fun() -> length(noted(Server)) =:= 11 end),
    ?assertEqual([cast | lists:seq(1, 10)], noted(Server)).

%% An ordered cast may call back on the same connection's other end, and wait.
waiting_for_a_call(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_target, wait_at_gate, [gate]]),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, note, [behind, 0]]),
    wait(fun() -> call(Server, gen_rpc_test_target, at_gate, [gate]) end),
    ?assertEqual([], noted(Server)),
    ?assertEqual(ok, call(Client, gen_rpc, call, [Node, gen_rpc_test_target, open_gate, [gate]])),
    wait(fun() -> noted(Server) =:= [behind] end).

%%% The limit: a lane holds so much, on both sides, whatever runs

%% With the policy drop what does not fit is dropped and counted; the rest is in order.
limit_drop(Config) ->
    limit(Config, drop, ?LONG, 200,
          fun(Client, Refused, Missing) ->
                  ?assertEqual({0, Missing}, {Refused, counter(Client, casts_dropped)}),
                  ?assertMatch([#{reason := overload} | _], lines(Client, "ordered cast dropped"))
          end).

%% With the policy error the caller hears of it.
limit_error(Config) ->
    limit(Config, error, ?LONG, 200,
          fun(Client, Refused, Missing) ->
                  ?assertEqual({Missing, 0}, {Refused, counter(Client, casts_dropped)}),
                  ?assertEqual(Missing, counter(Client, casts_refused))
          end).

%% With the policy block each waits for send_timeout; the connection stays, since its peer lives.
limit_block(Config) ->
    limit(Config, block, 300, 64,
          fun(Client, Refused, Missing) ->
                  ?assertEqual({0, Missing}, {Refused, counter(Client, casts_dropped)}),
                  ?assertEqual(Missing, counter(Client, casts_blocked)),
                  ?assert(counter(Client, casts_blocked_ms) >= 300 * Missing),
                  ?assertMatch([#{reason := send_timeout} | _],
                               lines(Client, "ordered cast dropped"))
          end).

limit(Config, Policy, SendTimeout, N, Check) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{send_timeout, SendTimeout}, {cast_overload_policy, Policy}], []),
    ok = start_work(Server),
    Node = echo(Client, Node),
    Port = port_of(Client, Node),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, held, [slow]]),
    wait(fun() -> at_work(Server) =:= 1 end),
    [ok = watch(Which) || Which <- [Client, Server]],
    Refused = run(Client, fun() ->
                                  R = [I || I <- lists:seq(1, N), not try_ordered(Node, I, 100000)],
                                  [] = mailbox(),
                                  length(R)
                          end),
    [?assertMatch(#{rss := Rss} when Rss =< ?COST, watched(Which)) || Which <- [Client, Server]],
    ?assertEqual([Node], lists:usort([echo(Client, Node) || _ <- lists:seq(1, 10)])),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    wait(fun() -> Refused + counter(Client, casts_dropped) + length(noted(Server)) =:= N end),
    Noted = noted(Server),
    ?assertEqual(lists:usort(Noted), Noted),
    ?assert(length(Noted) > 0),
    %% A small window there, and a queue here.
    ?assert(length(Noted) =< 60, length(Noted)),
    Check(Client, Refused, N - length(Noted)),
    ?assertEqual(Port, port_of(Client, Node)),
    true = run(Client, fun() -> try_ordered(Node, last, 100000) end),
    wait(fun() -> lists:last(noted(Server)) =:= last end).

try_ordered(Dest, I, Size) ->
    try
        gen_rpc:ordered_cast(Dest, gen_rpc_test_flow, note, [I, bytes(Size)])
    catch
        error:overload -> false
    end.

%% Those who wait for room keep their order, and nothing is lost.
order_across_the_limit(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = start_work(Server),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, held, [slow]]),
    wait(fun() -> at_work(Server) =:= 1 end),
    Casters = gen_rpc_test_task:start(
                3, fun(P) ->
                           run(Client, fun() ->
                                               [true = gen_rpc:ordered_cast(
                                                         Node, gen_rpc_test_flow, note,
                                                         [{P, I}, bytes(I * I * P rem 200000)])
                                                || I <- lists:seq(1, 300)],
                                               mailbox()
                                       end)
                   end),
    wait(fun() -> maps:get(waiting, connection(Client, Node)) > 0 end),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    ?assertEqual([[], [], []], gen_rpc_test_task:results(Casters)),
    wait(fun() -> length(noted(Server)) >= 900 end),
    [?assertEqual({P, lists:seq(1, 300)}, {P, [I || {Q, I} <- noted(Server), Q =:= P]})
     || P <- [1, 2, 3]],
    ?assert(counter(Client, casts_blocked) > 0).

%% A peer that is stopped for a while takes all of them in their order when it goes on.
stopped_peer(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = forget(Server),
    Node = echo(Client, Node),
    Port = port_of(Client, Node),
    Frozen = gen_rpc_test_node:freeze(Server),
    Caster = try
                 Task = gen_rpc_test_task:start(
                          fun() ->
                                  run(Client, fun() ->
                                                      [true = try_ordered(Node, I, 100000)
                                                       || I <- lists:seq(1, 150)],
                                                      mailbox()
                                              end)
                          end),
                 wait(fun() -> maps:get(waiting, connection(Client, Node)) =:= 1 end),
                 ?assertEqual({badrpc, timeout}, echo(Client, Node, 100)),
                 Task
             after
                 gen_rpc_test_node:thaw(Frozen)
             end,
    ?assertEqual([], gen_rpc_test_task:result(Caster)),
    wait(fun() -> length(noted(Server)) >= 150 end),
    ?assertEqual(lists:seq(1, 150), noted(Server)),
    ?assertEqual(Port, port_of(Client, Node)).

%% What had arrived before the connection was lost runs in order to its end; of what had not none
%% runs before it, or twice.
connection_is_lost(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = start_work(Server),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, held, [slow]]),
    _ = run(Client, fun() -> [true = try_ordered(Node, I, 100) || I <- lists:seq(1, 50)] end),
    wait(fun() -> at_work(Server) =:= 1 end),
    %% They are there when this one is.
    Node = echo(Client, Node),
    abcast = call(Client, gen_rpc, abcast, [[Node], no_such_name, last]),
    ?assertEqual({[], [Node]}, call(Client, gen_rpc, sbcast, [[Node], no_such_name, last])),
    {ok, Port} = port_of(Client, Node),
    true = run(Client, fun() -> exit(Port, kill) end),
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end),
    ?assertEqual([], noted(Server)),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    wait(fun() -> length(noted(Server)) =:= 50 end),
    ?assertEqual(lists:seq(1, 50), noted(Server)),
    wait(fun() -> runner(Server) =:= none end),
    %% And there is a new one for the next connection.
    true = run(Client, fun() -> try_ordered(Node, next, 100) end),
    wait(fun() -> lists:last(noted(Server)) =:= next end).

%%% Messages to registered processes

%% Of one process to one name, they arrive in order, whatever their size.
abcast_in_order(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = start_collector(Server),
    _ = run(Client, fun() ->
                            [abcast = gen_rpc:abcast([Node], ?NAME,
                                                     {I, bytes(I * I * I rem 150000)})
                             || I <- lists:seq(1, 300)],
                            [] = mailbox()
                    end),
    wait(fun() -> length(collected(Server)) >= 300 end),
    ?assertEqual([{I, I * I * I rem 150000} || I <- lists:seq(1, 300)], collected(Server)),
    ok = stop_collector(Server).

start_collector(Node) ->
    run(Node, fun() ->
                      Self = self(),
                      undefined = whereis(?NAME),
                      Pid = spawn(fun() ->
                                          true = register(?NAME, self()),
                                          Self ! {self(), ready},
                                          collector([])
                                  end),
                      receive {Pid, ready} -> ok end
              end).

collector(Got) ->
    receive
        {collected, From, Ref} -> From ! {Ref, lists:reverse(Got)}, collector(Got);
        stop -> ok;
        {I, Luggage} when is_binary(Luggage) -> collector([{I, byte_size(Luggage)} | Got]);
        Message -> collector([Message | Got])
    end.

collected(Node) ->
    run(Node, fun() -> send_collected(?NAME, make_ref()) end).

send_collected(Name, Ref) ->
    Name ! {collected, self(), Ref},
    receive {Ref, Got} -> Got end.

stop_collector(Node) ->
    run(Node, fun() ->
                      Monitor = monitor(process, ?NAME),
                      ?NAME ! stop,
                      receive {'DOWN', Monitor, _, _, _} -> ok end
              end).

%% The same of several processes, to several nodes and keys, the own one among them.
abcast_of_several_processes(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    Own = maps:get(node, Client),
    #{node := OtherNode} = Other = other(Config),
    [ok = start_collector(N) || N <- [Client, Server, Other]],
    Dests = [Node, Own, {Node, key}, OtherNode],
    _ = run(Client, fun() ->
                            at_once(5, fun(P) ->
                                               [abcast = gen_rpc:abcast(Dests, ?NAME, {P, I})
                                                || I <- lists:seq(1, 100)],
                                               [] = mailbox()
                                       end)
                    end),
    wait(fun() -> length(collected(Server)) >= 1000 andalso length(collected(Other)) >= 500 end),
    [?assertEqual({P, lists:seq(1, 100)}, {P, [I || {Q, I} <- collected(N), Q =:= P]})
     || P <- lists:seq(1, 5), N <- [Client, Other]],
    %% By two connections there.
    [?assertEqual({P, lists:sort(lists:seq(1, 100) ++ lists:seq(1, 100))},
                  {P, lists:sort([I || {Q, I} <- collected(Server), Q =:= P])})
     || P <- lists:seq(1, 5)],
    [ok = stop_collector(N) || N <- [Client, Server, Other]].

%% A name that nobody has, a node that is not there: nothing happens, and the others get it.
abcast_to_nobody(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{connect_timeout, 500}], []),
    ok = start_collector(Server),
    Dead = 'nobody@127.0.0.1',
    run(Client, fun() ->
                        abcast = gen_rpc:abcast([], ?NAME, none),
                        abcast = gen_rpc:abcast([Node, {Node, a}], no_such_name, hello),
                        abcast = gen_rpc:abcast([Dead, Node, {Dead, key}], ?NAME, first),
                        abcast = gen_rpc:abcast(?NAME, second),
                        [] = mailbox()
                end),
    %% To the node by both of its connections the second time.
    wait(fun() -> length(collected(Server)) >= 2 end),
    ?assertEqual([first, second], lists:usort(collected(Server))),
    ?assertEqual(Node, echo(Client, Node)),
    ok = stop_collector(Server).

%% With the policy error the one that is overloaded does not keep the message from the others.
abcast_overload(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{send_timeout, ?LONG}, {cast_overload_policy, error}], []),
    #{node := OtherNode} = Other = other(Config),
    ok = start_collector(Other),
    [_ = echo(Client, N) || N <- [Node, OtherNode]],
    Frozen = gen_rpc_test_node:freeze(Server),
    try
        Results = run(Client, fun() ->
                                      R = [try_abcast([Node, OtherNode], I)
                                           || I <- lists:seq(1, 200)],
                                      [] = mailbox(),
                                      R
                              end),
        ?assertEqual([abcast, overload], lists:usort(Results)),
        wait(fun() -> length(collected(Other)) =:= 400 end),
        ?assertEqual(lists:seq(1, 200), [I || {I, 100000} <- collected(Other)])
    after
        gen_rpc_test_node:thaw(Frozen)
    end,
    Node = echo(Client, Node),
    ok = stop_collector(Other).

%% The last of them has all that was sent before, so that it is not overloaded itself.
try_abcast([_, Other] = Dests, I) ->
    {[Other], []} = gen_rpc:sbcast([Other], ?NAME, {I, <<>>}),
    try
        gen_rpc:abcast(Dests, ?NAME, {I, bytes(100000)})
    catch
        error:overload -> overload
    end.

%% A slow ordered cast does not keep messages from their processes.
beside_a_slow_ordered_cast(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    ok = start_collector(Server),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, held, [slow]]),
    wait(fun() -> at_work(Server) =:= 1 end),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, note, [behind, 0]]),
    abcast = call(Client, gen_rpc, abcast, [[Node], ?NAME, hello]),
    ?assertEqual({[Node], []}, call(Client, gen_rpc, sbcast, [[Node], ?NAME, again])),
    ?assertEqual([hello, again], collected(Server)),
    ?assertEqual([], noted(Server)),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    wait(fun() -> noted(Server) =:= [behind] end),
    ok = stop_collector(Server).

%% sbcast says where somebody has it and where not, in the order given, and it is there by then.
sbcast_results(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{connect_timeout, 500}], []),
    #{node := OtherNode} = Other = other(Config),
    Own = maps:get(node, Client),
    [ok = start_collector(N) || N <- [Client, Server]],
    Dead = 'nobody@127.0.0.1',
    Sbcast = fun(Args) ->
                     run(Client, fun() -> {apply(gen_rpc, sbcast, Args), mailbox()} end)
             end,
    ?assertEqual({{[], []}, []}, Sbcast([[], ?NAME, none])),
    ?assertEqual({{[{Node, b}, Own, Node], [Dead, OtherNode, {Dead, key}]}, []},
                 Sbcast([[Dead, {Node, b}, OtherNode, Own, {Dead, key}, Node], ?NAME, first])),
    ?assertEqual([first, first], collected(Server)),
    ?assertEqual([first], collected(Client)),
    ?assertEqual({{[], [Node, Own]}, []}, Sbcast([[Node, Own], no_such_name, second])),
    %% To all nodes that it is connected to.
    {{Good, Bad}, []} = Sbcast([?NAME, third]),
    ?assertEqual({lists:sort([Node, Own]), [OtherNode]}, {lists:sort(Good), Bad}),
    ?assertEqual([first, third], collected(Client)),
    ?assertEqual([third], collected(Server) -- [first, first]),
    [ok = stop_collector(N) || N <- [Client, Server]],
    _ = Other.

%% One time limit holds for all: those that answer are good, and those that do not are bad together.
sbcast_one_time_limit(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{sbcast_receive_timeout, 800}, {send_timeout, ?LONG}], []),
    #{node := OtherNode} = Other = other(Config),
    [ok = start_collector(N) || N <- [Server, Other]],
    Keys = [{Node, Key} || Key <- lists:seq(1, 10)],
    [Node = echo(Client, Dest) || Dest <- Keys],
    OtherNode = echo(Client, OtherNode),
    Frozen = gen_rpc_test_node:freeze(Server),
    try
        {Time, Result, Left} =
            run(Client, fun() ->
                                Start = erlang:monotonic_time(millisecond),
                                R = gen_rpc:sbcast(Keys ++ [OtherNode], ?NAME, hello),
                                {erlang:monotonic_time(millisecond) - Start, R, mailbox()}
                        end),
        ?assertEqual({{[OtherNode], Keys}, []}, {Result, Left}),
        %% One after the other it would be ten times that.
        ?assert(Time >= 800 andalso Time < 5 * 800, Time),
        %% Not even connected.
        ?assertEqual({[OtherNode], [{Node, new}]},
                     call(Client, gen_rpc, sbcast, [[{Node, new}, OtherNode], ?NAME, again]))
    after
        gen_rpc_test_node:thaw(Frozen)
    end,
    wait(fun() -> echo(Client, {Node, 1}) =:= Node end),
    ?assertEqual([hello, again], collected(Other)),
    [ok = stop_collector(N) || N <- [Server, Other]].

%% abcasts and sbcasts of one process are in one order.
sbcast_in_order(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, ?LONG}], []),
    ok = start_collector(Server),
    _ = run(Client, fun() ->
                            [case I rem 3 of
                                 0 -> {[Node], []} = gen_rpc:sbcast([Node], ?NAME,
                                                                    {I, bytes(I * 1000)});
                                 _ -> abcast = gen_rpc:abcast([Node], ?NAME, {I, bytes(I * 1000)})
                             end || I <- lists:seq(1, 150)],
                            [] = mailbox()
                    end),
    ?assertEqual([{I, I * 1000} || I <- lists:seq(1, 150)], collected(Server)),
    ok = stop_collector(Server).

%% Large sbcasts that are given up on their way leave the lane as it was, however many.
given_up_sbcasts(Config) ->
    {Client, #{node := Node} = Server, Valve} =
        gen_rpc_test_flow:restart_with_valve(Config, [{sbcast_receive_timeout, 100},
                                                      {send_timeout, ?LONG}], []),
    ok = start_collector(Server),
    Node = echo(Client, Node),
    Port = port_of(Client, Node),
    ok = gen_rpc_test_flow:set(Valve, to_server, 8192),
    _ = run(Client, fun() ->
                            [begin
                                 {[], [Node]} = gen_rpc:sbcast([Node], ?NAME, {I, bytes(3 * ?MIB)}),
                                 abcast = gen_rpc:abcast([Node], ?NAME, {I, <<>>})
                             end || I <- lists:seq(1, 10)],
                            [] = mailbox()
                    end),
    ok = gen_rpc_test_flow:set(Valve, to_server, free),
    wait(fun() -> length([I || {I, 0} <- collected(Server)]) >= 10 end),
    ?assertEqual(lists:seq(1, 10), [I || {I, 0} <- collected(Server)]),
    ?assert(counter(Client, aborted) > 0),
    ok = forget(Server),
    [true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, note, [I, bytes(300000)]])
     || I <- lists:seq(1, 20)],
    wait(fun() -> length(noted(Server)) >= 20 end),
    ?assertEqual(lists:seq(1, 20), noted(Server)),
    ?assertEqual(Port, port_of(Client, Node)),
    ok = gen_rpc_test_flow:stop_valve(Valve),
    ok = stop_collector(Server).

%%% The own node

%% Ordered casts to the own node are in order for each destination, one at a time, however they end.
own_node(Config) ->
    {_, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    run(Server, fun() ->
                        [begin
                             true = gen_rpc:ordered_cast(Node, gen_rpc_test_flow, brief, [I]),
                             true = gen_rpc:ordered_cast(Node, erlang, exit, [kill])
                         end || I <- lists:seq(1, 100)],
                        [] = mailbox()
                end),
    wait(fun() -> length(noted(Server)) =:= 100 end),
    ?assertEqual(lists:seq(1, 100), noted(Server)),
    ?assertMatch(#{most := 1}, call(Server, gen_rpc_test_flow, gauge, [])),
    ok = start_work(Server),
    true = call(Server, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, held, [slow]]),
    wait(fun() -> at_work(Server) =:= 1 end),
    true = call(Server, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, note, [behind, 0]]),
    true = call(Server, gen_rpc, ordered_cast, [{Node, key}, gen_rpc_test_flow, note, [key, 0]]),
    wait(fun() -> noted(Server) =:= [key] end),
    ?assertEqual(Node, call(Server, gen_rpc, call, [Node, erlang, node, []])),
    ok = call(Server, gen_rpc_test_flow, open_gate, []),
    wait(fun() -> noted(Server) =:= [key, behind] end),
    run(Server, fun() ->
                        {[Node, {Node, key}], []} = gen_rpc:sbcast([Node, {Node, key}], init,
                                                                   {no, stop}),
                        {[], [Node]} = gen_rpc:sbcast([Node], no_such_name, hello),
                        abcast = gen_rpc:abcast([Node], no_such_name, hello),
                        [] = mailbox()
                end).

%% The policies hold there, too.
own_node_limit(Config) ->
    [begin
         {_, #{node := Node} = Server} =
             restart(Config, [], [{cast_overload_policy, Policy}, {send_timeout, 10}]),
         ok = start_work(Server),
         true = call(Server, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, held, [slow]]),
         Refused = run(Server, fun() ->
                                       R = length([I || I <- lists:seq(1, 1100),
                                                        not try_ordered(Node, I, 10)]),
                                       [] = mailbox(),
                                       R
                               end),
         ok = call(Server, gen_rpc_test_flow, open_gate, []),
         wait(fun() ->
                      length(noted(Server)) + Refused + counter(Server, casts_dropped) =:= 1100
              end),
         ?assertEqual(lists:usort(noted(Server)), noted(Server)),
         ?assert(length(noted(Server)) < 1100),
         ?assertEqual(Policy =:= error, Refused > 0),
         ?assertEqual(Policy =/= error, counter(Server, casts_dropped) > 0)
     end || Policy <- [drop, error, block]].

%%% Invalid use

%% What is no destination, module, function, arguments or name is refused, and nothing is sent.
bad_arguments(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = forget(Server),
    Bad = [{ordered_cast, [Node, "m", f, []]}, {ordered_cast, [Node, m, "f", []]},
           {ordered_cast, [Node, m, f, a]}, {ordered_cast, ["node", m, f, []]},
           {ordered_cast, [{"node", key}, m, f, []]}, {ordered_cast, [{Node}, m, f, []]},
           {abcast, [Node, name, hello]}, {abcast, [[Node | Node], name, hello]},
           {abcast, [[Node, "node"], name, hello]}, {abcast, [[Node], "name", hello]},
           {abcast, ["name", hello]}, {abcast, [[Node], self(), hello]},
           {sbcast, [Node, name, hello]}, {sbcast, [[Node | Node], name, hello]},
           {sbcast, [[Node, 1], name, hello]}, {sbcast, [[Node], 1, hello]}, {sbcast, [1, hello]}],
    [?assertEqual({F, A, badarg}, run(Client, fun() ->
                                                      try apply(gen_rpc, F, A) of
                                                          Result -> {F, A, Result}
                                                      catch
                                                          error:Reason -> {F, A, Reason}
                                                      end
                                              end)) || {F, A} <- Bad],
    ?assertEqual(none, gen_rpc_test_node:connection(Client, Node)),
    %% What can't be run is logged there, and does not end anything.
    true = call(Client, gen_rpc, ordered_cast, [Node, no_such_module, f, []]),
    true = call(Client, gen_rpc, ordered_cast, [Node, gen_rpc_test_flow, note, [behind, 0]]),
    wait(fun() -> noted(Server) =:= [behind] end),
    ?assertMatch([_ | _], lines(Server, "cast failed")).
