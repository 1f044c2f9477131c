%% SPDX-License-Identifier: Apache-2.0
%% Calls whose results are taken later, and calls to many nodes, between real nodes: what waits costs
%% no process, holds up nobody, ends in time, and leaves nothing behind.
-module(gen_rpc_async_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2,
         end_per_testcase/2]).
-export([waiting_calls_cost_no_process/1, any_process_may_yield/1, one_of_many_gets_it/1,
         results_of_any_size/1, own_node/1]).
-export([dead_owner_is_told_to_the_server/1, dead_owner_kills_the_worker/1]).
-export([inactivity_ends_a_call/1, inactivity_ends_a_result/1, nb_yield_restarts_the_time/1,
         waiting_yield_is_not_cut/1, killed_yielder_counts_for_nothing/1]).
-export([nb_yield_leaves_no_message/1, late_results_leave_no_message/1]).
-export([absent_node_blocks_nobody/1, absent_node_delays_no_other/1,
         helpers_end_with_their_request/1, many_dead_nodes_in_one_limit/1,
         more_nodes_than_helpers/1]).
-export([killed_holder/1, stopped_application/1, busy_connection/1, failed_at_once/1]).
-export([full_mailbox_costs_nothing/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).

-define(TARGET, gen_rpc_test_target).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

%% What comes back sooner than this, ms, has not waited for a limit of ?LONG.
-define(SOON, 20000).

%% More than the holder keeps helpers.
-define(MANY, 1100).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [waiting_calls_cost_no_process, any_process_may_yield, one_of_many_gets_it,
     results_of_any_size, own_node, dead_owner_is_told_to_the_server, dead_owner_kills_the_worker,
     inactivity_ends_a_call, inactivity_ends_a_result, nb_yield_restarts_the_time,
     waiting_yield_is_not_cut, killed_yielder_counts_for_nothing, nb_yield_leaves_no_message,
     late_results_leave_no_message, absent_node_blocks_nobody, absent_node_delays_no_other,
     helpers_end_with_their_request, many_dead_nodes_in_one_limit, more_nodes_than_helpers,
     killed_holder, stopped_application, busy_connection, failed_at_once,
     full_mailbox_costs_nothing].

init_per_suite(Config) ->
    [{pair, gen_rpc_test_pair:start()} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(pair(Config)).

init_per_testcase(_Case, Config) -> Config.

end_per_testcase(_Case, Config) ->
    {_, Server} = Pair = pair(Config),
    ok = gen_rpc_test_node:call(Server, gen_rpc_test_flow, open_gate, []),
    gen_rpc_test_pair:finish(Pair).

%%% Calls that wait

%% A thousand calls that run, and a thousand results that nobody has taken yet, are no process of
%% the calling node. When they are taken nothing is left.
waiting_calls_cost_no_process(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    run(Client,
        fun() ->
                Node = gen_rpc:call(Node, erlang, node, []),
                Before = length(processes()),
                Waiting = [gen_rpc:async_call(Node, gen_rpc_test_flow, held, [I])
                           || I <- lists:seq(1, 1000)],
                wait(fun() -> at_work(Node) =:= 1000 end),
                ?assert(length(processes()) < Before + 20),
                ok = gen_rpc:call(Node, gen_rpc_test_flow, open_gate, []),
                wait(fun() -> at_work(Node) =:= 0 end),
                ?assert(length(processes()) < Before + 20),
                ?assertEqual(lists:seq(1, 1000), [gen_rpc:yield(Key) || Key <- Waiting]),
                ?assertEqual([], gen_rpc_test_flow:mailbox()),
                nothing_held()
        end).

%% A key is good for every process, whether the result is there or not, and when it was made by one
%% that lives.
any_process_may_yield(Config) ->
    {Client, #{node := Node}} = restart(Config, [], []),
    run(Client,
        fun() ->
                Keys = [gen_rpc:async_call(Node, ?TARGET, echo_after, [I, I * 10])
                        || I <- lists:seq(0, 20)],
                Yield = fun(Key) -> {gen_rpc:yield(Key), gen_rpc_test_flow:mailbox()} end,
                Tasks = [gen_rpc_test_task:start(fun() -> Yield(Key) end) || Key <- Keys],
                ?assertEqual([{I, []} || I <- lists:seq(0, 20)],
                             gen_rpc_test_task:results(Tasks)),
                nothing_held()
        end).

%% Of several processes that yield the same key one gets the result; the others do not wait for
%% ever.
one_of_many_gets_it(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    run(Client,
        fun() ->
                Key = gen_rpc:async_call(Node, gen_rpc_test_flow, held, [value]),
                Yielders = gen_rpc_test_task:start(
                             10, fun(_) -> {gen_rpc:yield(Key), gen_rpc_test_flow:mailbox()} end),
                wait(fun() -> length(takers()) =:= 10 end),
                ok = gen_rpc:call(Node, gen_rpc_test_flow, open_gate, []),
                ?assertEqual([{value, []} | lists:duplicate(9, {{badrpc, timeout}, []})],
                             lists:sort(gen_rpc_test_task:results(Yielders))),
                ?assertEqual({badrpc, timeout}, gen_rpc:yield(Key)),
                nothing_held()
        end).

%% Results that the driver copies and those that it does not.
results_of_any_size(Config) ->
    {Client, #{node := Node}} = restart(Config, [], []),
    Sizes = [0, 64, 65, 16000, 16384, 17000, 65536, 70000, 300000, 5000000],
    run(Client,
        fun() ->
                Start = fun(Size) -> gen_rpc:async_call(Node, binary, copy, [<<"x">>, Size]) end,
                Keys = [Start(Size) || Size <- Sizes],
                ?assertEqual(Sizes, [byte_size(gen_rpc:yield(Key)) || Key <- Keys]),
                Echo = [begin
                            Bytes = binary:copy(<<"y">>, Size),
                            {Bytes, gen_rpc:async_call(Node, ?TARGET, echo, [Bytes])}
                        end || Size <- Sizes],
                [?assert(gen_rpc:yield(Key) =:= Bytes) || {Bytes, Key} <- Echo],
                nothing_held()
        end).

%% Calls to the own node are kept in the same way, and end with their caller when it is the policy
%% to end them.
own_node(Config) ->
    {Client, _} = restart(Config, [{kill_on_cancel, true}], []),
    run(Client,
        fun() ->
                Keys = [gen_rpc:async_call(node(), ?TARGET, echo, [I]) || I <- lists:seq(1, 100)],
                ?assertEqual(lists:seq(1, 100), [gen_rpc:yield(Key) || Key <- Keys]),
                ?assertEqual({badrpc, {'EXIT', killed}},
                             gen_rpc:yield(gen_rpc:async_call(node(), ?TARGET, end_self, [kill]))),
                Owner = spawn(fun() ->
                                      _ = gen_rpc:async_call(node(), ?TARGET, wait_at_gate,
                                                             [?FUNCTION_NAME]),
                                      timer:sleep(infinity)
                              end),
                wait(fun() -> whereis(?FUNCTION_NAME) =/= undefined end),
                true = exit(Owner, kill),
                wait(fun() -> whereis(?FUNCTION_NAME) =:= undefined end),
                nothing_held()
        end).

%%% The end of the caller

%% When the process that made the calls ends, the server hears that nobody waits for them.
dead_owner_is_told_to_the_server(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    Owner = start_owner(Client, Node, 50),
    wait(fun() -> run(Server, fun gen_rpc_test_flow:gauge/0) =:=
                      #{now => 50, most => 50, begun => 50} end),
    true = run(Client, fun() -> exit(Owner, kill) end),
    wait(fun() -> counter(Server, cancels_in) =:= 50 end),
    ?assertEqual(50, maps:get(now, run(Server, fun gen_rpc_test_flow:gauge/0))),
    ok = run(Client, fun nothing_held/0).

%% With kill_on_cancel there that ends them.
dead_owner_kills_the_worker(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{kill_on_cancel, true}]),
    ok = start_work(Server),
    Owner = start_owner(Client, Node, 50),
    wait(fun() -> maps:get(now, run(Server, fun gen_rpc_test_flow:gauge/0)) =:= 50 end),
    ?assertEqual(50, length(run(Server, fun gen_rpc_test_flow:worker_pids/0))),
    true = run(Client, fun() -> exit(Owner, kill) end),
    wait(fun() -> run(Server, fun gen_rpc_test_flow:worker_pids/0) =:= [] end),
    ?assertEqual(50, counter(Server, workers_killed)),
    ok = run(Client, fun nothing_held/0).

start_owner(Client, Node, N) ->
    run(Client, fun() ->
                        spawn(fun() ->
                                      [_ | _] = [gen_rpc:async_call(Node, gen_rpc_test_flow, held,
                                                                    [I]) || I <- lists:seq(1, N)],
                                      timer:sleep(infinity)
                              end)
                end).

%%% Inactivity

%% A call that nobody asks for is given up after async_call_inactivity_timeout, and its key is worth
%% nothing any more.
inactivity_ends_a_call(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{async_call_inactivity_timeout, 200}], [{kill_on_cancel, true}]),
    ok = start_work(Server),
    run(Client,
        fun() ->
                Key = gen_rpc:async_call(Node, gen_rpc_test_flow, held, [1]),
                wait(fun() -> at_work(Node) =:= 1 end),
                nothing_held(),
                ?assertEqual({badrpc, timeout}, gen_rpc:yield(Key))
        end),
    wait(fun() -> counter(Server, workers_killed) =:= 1 end).

%% So is a result that nobody takes.
inactivity_ends_a_result(Config) ->
    {Client, #{node := Node}} = restart(Config, [{async_call_inactivity_timeout, 200}], []),
    run(Client,
        fun() ->
                Key = gen_rpc:async_call(Node, ?TARGET, echo, [value]),
                wait(fun() -> [Outcome || {_, Outcome, _} <- held()] =:= [{return, value}] end),
                nothing_held(),
                ?assertEqual({badrpc, timeout}, gen_rpc:yield(Key))
        end).

%% Whoever asks makes the time run from the beginning, however often.
nb_yield_restarts_the_time(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{async_call_inactivity_timeout, 3000}], []),
    ok = start_work(Server),
    run(Client,
        fun() ->
                Key = gen_rpc:async_call(Node, gen_rpc_test_flow, held, [value]),
                Timers = [begin
                              timeout = gen_rpc:nb_yield(Key, 1),
                              [{_, none, Timer}] = held(),
                              ?assert(is_integer(erlang:read_timer(Timer))),
                              Timer
                          end || _ <- lists:seq(1, 10)],
                ?assertEqual(10, length(lists:usort(Timers))),
                ok = gen_rpc:call(Node, gen_rpc_test_flow, open_gate, []),
                ?assertEqual(value, gen_rpc:yield(Key)),
                nothing_held()
        end).

%% The time does not end a call for which somebody waits, however long.
waiting_yield_is_not_cut(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{async_call_inactivity_timeout, 50}], []),
    ok = start_work(Server),
    run(Client,
        fun() ->
                Key = gen_rpc:async_call(Node, gen_rpc_test_flow, held, [value]),
                ?assertEqual(timeout, gen_rpc:nb_yield(Key, 500)),
                Yielder = gen_rpc_test_task:start(fun() -> gen_rpc:yield(Key) end),
                wait(fun() -> length(takers()) =:= 1 end),
                ?assertEqual(timeout, gen_rpc:nb_yield(Key, 500)),
                ok = gen_rpc:call(Node, gen_rpc_test_flow, open_gate, []),
                ?assertEqual(value, gen_rpc_test_task:result(Yielder)),
                nothing_held()
        end).

%% A process that was killed while it yielded does not wait any more.
killed_yielder_counts_for_nothing(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [{async_call_inactivity_timeout, 300}], [{kill_on_cancel, true}]),
    ok = start_work(Server),
    run(Client,
        fun() ->
                Key = gen_rpc:async_call(Node, gen_rpc_test_flow, held, [value]),
                Yielder = spawn(fun() -> gen_rpc:yield(Key) end),
                wait(fun() -> length(takers()) =:= 1 end),
                true = exit(Yielder, kill),
                nothing_held()
        end),
    wait(fun() -> counter(Server, workers_killed) =:= 1 end).

%%% Messages

%% However close its time is to the result, nb_yield returns it or leaves it, and no message stays.
nb_yield_leaves_no_message(Config) ->
    {Client, #{node := Node}} = restart(Config, [], []),
    run(Client,
        fun() ->
                [begin
                     Key = gen_rpc:async_call(Node, ?TARGET, echo_after, [value, I rem 4]),
                     case gen_rpc:nb_yield(Key, I rem 5) of
                         {value, value} -> ok;
                         timeout -> value = gen_rpc:yield(Key)
                     end,
                     ?assertEqual([], gen_rpc_test_flow:mailbox())
                 end || I <- lists:seq(1, 300)],
                nothing_held()
        end).

%% Nor does any stay of what comes after the time of any function.
late_results_leave_no_message(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    run(Client,
        fun() ->
                Held = [gen_rpc_test_flow, held, [value]],
                Send = fun() -> apply(gen_rpc_erpc, send_request, [Node | Held]) end,
                {badrpc, timeout} = apply(gen_rpc, call, [Node | Held] ++ [20]),
                {[], [Node, Node]} = apply(gen_rpc, multicall, [[Node, Node] | Held] ++ [20]),
                ?assertError({erpc, timeout}, apply(gen_rpc_erpc, call, [Node | Held] ++ [20])),
                [{error, {erpc, timeout}}] =
                    apply(gen_rpc_erpc, multicall, [[Node] | Held] ++ [20]),
                ?assertError({erpc, timeout}, gen_rpc_erpc:receive_response(Send(), 20)),
                Collection = gen_rpc_erpc:reqids_add(Send(), label, gen_rpc_erpc:reqids_new()),
                ?assertError({erpc, timeout},
                             gen_rpc_erpc:receive_response(Collection, 20, true)),
                ok = gen_rpc:call(Node, gen_rpc_test_flow, open_gate, []),
                wait(fun() -> at_work(Node) =:= 0 end),
                Node = gen_rpc:call(Node, erlang, node, []),
                ?assertEqual([], gen_rpc_test_flow:mailbox()),
                nothing_held()
        end).

%%% Nodes that can't be reached

%% Nobody who only starts a call waits for a connection.
absent_node_blocks_nobody(Config) ->
    {Hole, Number} = gen_rpc_test_hole:silent(),
    {Client, _} = restart(Config, to_holes(Config, Number), []),
    run(Client,
        fun() ->
                Start = erlang:monotonic_time(millisecond),
                Key = gen_rpc:async_call(hole(1), erlang, node, []),
                Id = gen_rpc_erpc:send_request(hole(1), erlang, node, []),
                timeout = gen_rpc:nb_yield(Key, 10),
                no_response = gen_rpc_erpc:wait_response(Id, 10),
                ?assertError({erpc, timeout}, gen_rpc_erpc:receive_response(Id, 10)),
                ?assert(erlang:monotonic_time(millisecond) - Start < ?SOON),
                ?assertEqual([], gen_rpc_test_flow:mailbox())
        end),
    %% The process that made the call has ended, and so has the call.
    ok = run(Client, fun nothing_held/0),
    ok = gen_rpc_test_hole:close(Hole).

%% A node that does not answer delays no other one in the same call.
absent_node_delays_no_other(Config) ->
    {Hole, Number} = gen_rpc_test_hole:silent(),
    {Client, #{node := Node}} = restart(Config, to_holes(Config, Number), []),
    run(Client,
        fun() ->
                Start = erlang:monotonic_time(millisecond),
                Dests = [hole(1), Node, hole(2), node(), {Node, key}, hole(1)],
                Ids = [gen_rpc_erpc:send_request(Dest, erlang, node, []) || Dest <- Dests],
                Keys = [gen_rpc:async_call(Dest, erlang, node, []) || Dest <- Dests],
                ?assertEqual([Node, node(), Node],
                             [gen_rpc:yield(lists:nth(I, Keys)) || I <- [2, 4, 5]]),
                ?assertEqual([Node, node(), Node],
                             [gen_rpc_erpc:receive_response(lists:nth(I, Ids)) || I <- [2, 4, 5]]),
                ?assertEqual({[Node, node(), Node], [hole(1), hole(2), hole(1)]},
                             gen_rpc:multicall(Dests, erlang, node, [], 3000)),
                Timeout = {error, {erpc, timeout}},
                ?assertEqual([Timeout, {ok, Node}, Timeout, {ok, node()}, {ok, Node}, Timeout],
                             gen_rpc_erpc:multicall(Dests, erlang, node, [], 3000)),
                ?assert(erlang:monotonic_time(millisecond) - Start < ?SOON)
        end),
    ok = run(Client, fun nothing_held/0),
    ok = gen_rpc_test_hole:close(Hole).

%% Whatever ends a request that waits for a connection ends the process that waits in its place.
helpers_end_with_their_request(Config) ->
    {Hole, Number} = gen_rpc_test_hole:silent(),
    {Client, _} = restart(Config, to_holes(Config, Number), []),
    run(Client,
        fun() ->
                %% The client of the connection stays.
                {badrpc, timeout} = gen_rpc:call(hole(1), erlang, node, [], 10),
                Before = length(processes()),
                Start = fun(_) ->
                                Id = gen_rpc_erpc:send_request(hole(1), erlang, node, []),
                                _ = gen_rpc:async_call(hole(1), erlang, node, []),
                                Id
                        end,
                Owner = spawn(fun() ->
                                      lists:foreach(Start, lists:seq(1, 20)),
                                      timer:sleep(?LONG)
                              end),
                wait(fun() -> length(processes()) =:= Before + 41 end),
                true = exit(Owner, kill),
                wait(fun() -> length(processes()) =:= Before end),
                Ids = lists:map(Start, lists:seq(1, 20)),
                [?assertError({erpc, timeout}, gen_rpc_erpc:receive_response(Id, 0)) || Id <- Ids],
                wait(fun() -> length(processes()) =:= Before + 20 end),
                {[], [_]} = gen_rpc:multicall([hole(1)], erlang, node, [], 10),
                wait(fun() -> length(processes()) =:= Before + 20 end),
                ?assertEqual([], gen_rpc_test_flow:mailbox())
        end),
    ok = run(Client, fun nothing_held/0),
    ok = gen_rpc_test_hole:close(Hole).

%% However many nodes there are, there is one time limit for all of them.
many_dead_nodes_in_one_limit(Config) ->
    {Hole, Number} = gen_rpc_test_hole:silent(),
    Limit = 1000,
    {Client, #{node := Node}} =
        restart(Config, [{sbcast_receive_timeout, Limit} | to_holes(Config, Number)], []),
    run(Client,
        fun() ->
                Holes = [hole(I) || I <- lists:seq(1, 20)],
                Half = length(Holes) * Limit div 2,
                ?assert(Half > in_time(fun() ->
                                               {[Node], Holes} =
                                                   gen_rpc:multicall([Node | Holes], erlang, node,
                                                                     [], Limit)
                                       end)),
                ?assert(Half > in_time(fun() ->
                                               {[Node], Holes} =
                                                   gen_rpc:sbcast(Holes ++ [Node], init, nothing)
                                       end)),
                ?assert(Half > in_time(fun() ->
                                               [{ok, Node} | _] =
                                                   gen_rpc_erpc:multicall([Node | Holes], erlang,
                                                                          node, [], Limit)
                                       end)),
                ?assertEqual([], gen_rpc_test_flow:mailbox())
        end),
    ok = run(Client, fun nothing_held/0),
    ok = gen_rpc_test_hole:close(Hole).

%% Also when there are more of them than the node has helpers for those who do not wait.
more_nodes_than_helpers(Config) ->
    {Hole, Number} = gen_rpc_test_hole:silent(),
    {Client, #{node := Node}} = restart(Config, to_holes(Config, Number), []),
    run(Client,
        fun() ->
                Node = gen_rpc:call(Node, erlang, node, []),
                Holes = lists:duplicate(?MANY, hole(1)),
                ?assert(?SOON > in_time(fun() ->
                                                {[Node], Holes} =
                                                    gen_rpc:multicall(Holes ++ [Node], erlang, node,
                                                                      [], 3000)
                                        end)),
                ?assertEqual([], gen_rpc_test_flow:mailbox())
        end),
    ok = run(Client, fun nothing_held/0),
    ok = gen_rpc_test_hole:close(Hole).

in_time(Fun) ->
    Start = erlang:monotonic_time(millisecond),
    _ = Fun(),
    erlang:monotonic_time(millisecond) - Start.

hole(I) ->
    list_to_atom("hole" ++ integer_to_list(I) ++ "@127.0.0.1").

%% Where the kernel connects and nobody says a word. Only the caller's own limits are short.
to_holes(Config, Number) ->
    {_, #{node := Node, port := Port}} = restart(Config, [], []),
    Ways = maps:from_list([{hole(I), {tcp, Number}} || I <- lists:seq(1, 20)]),
    [{client_config_per_node, {internal, Ways#{Node => {tcp, Port}}}},
     {connect_timeout, ?LONG}, {authentication_timeout, ?LONG}, {send_timeout, ?LONG},
     {port, Port}].

%%% The end of the holder, and of the application

%% What a holder has kept is lost with it; its owners are told, and go on with the next one.
killed_holder(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = start_work(Server),
    run(Client,
        fun() ->
                Keys = [gen_rpc:async_call(Node, gen_rpc_test_flow, held, [I])
                        || I <- lists:seq(1, 10)],
                Tasks = [gen_rpc_test_task:start(fun() -> gen_rpc:yield(Key) end)
                         || Key <- tl(Keys)],
                wait(fun() -> length(takers()) =:= 9 end),
                Holders = holders(),
                [exit(Holder, kill) || Holder <- Holders],
                ?assertEqual(lists:duplicate(9, {badtcp, closed}),
                             gen_rpc_test_task:results(Tasks)),
                ?assertEqual({badtcp, closed}, gen_rpc:yield(hd(Keys))),
                ?assertEqual({value, {badtcp, closed}}, gen_rpc:nb_yield(hd(Keys))),
                wait(fun() ->
                             New = holders(),
                             length(New) =:= length(Holders) andalso New -- Holders =:= New
                     end),
                ?assertEqual(Node, gen_rpc:yield(gen_rpc:async_call(Node, erlang, node, []))),
                ?assertEqual([], gen_rpc_test_flow:mailbox()),
                nothing_held()
        end),
    %% The supervisor has said that they ended.
    ok = gen_rpc_test_events:clear(Client).

%% Everyone who waits is told when the application stops.
stopped_application(Config) ->
    {Hole, Number} = gen_rpc_test_hole:silent(),
    {Client, #{node := Node} = Server} = restart(Config, to_holes(Config, Number), []),
    [ok, ok] = [start_work(T) || T <- [Client, Server]],
    run(Client,
        fun() ->
                Held = [gen_rpc_test_flow, held, [value]],
                Node = gen_rpc:call(Node, erlang, node, []),
                Before = length(processes()),
                Waits = [fun() -> gen_rpc:yield(apply(gen_rpc, async_call, [Dest | Held])) end
                         || Dest <- [Node, hole(1), node()]] ++
                    [fun() ->
                             Id = apply(gen_rpc_erpc, send_request, [Dest | Held]),
                             gen_rpc_erpc:receive_response(Id)
                     end || Dest <- [Node, hole(1)]],
                Tasks = [gen_rpc_test_task:start(fun() ->
                                                         {catch_error(Wait),
                                                          gen_rpc_test_flow:mailbox()}
                                                 end) || Wait <- Waits],
                wait(fun() -> length(takers()) =:= 4 andalso at_work(Node) =:= 2 end),
                ok = application:stop(gen_rpc),
                Results = gen_rpc_test_task:results(Tasks),
                ?assertMatch([{{badtcp, _}, []}, {{badtcp, _}, []}, {{badtcp, _}, []},
                              {{erpc, noconnection}, []}, {{erpc, noconnection}, []}], Results),
                ok = gen_rpc_test_flow:open_gate(),
                wait(fun() -> length(processes()) =< Before end)
        end),
    ok = gen_rpc_test_hole:close(Hole).

catch_error(Fun) ->
    try
        Fun()
    catch
        error:Reason -> Reason
    end.

%%% Connections without room, and what is never sent

%% A call that finds no room within send_timeout yields that.
busy_connection(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{send_timeout, 500}], []),
    Node = gen_rpc_test_node:call(Client, gen_rpc, call, [Node, erlang, node, []]),
    Frozen = gen_rpc_test_node:freeze(Server),
    try
        run(Client,
            fun() ->
                    Luggage = binary:copy(<<"x">>, 1000000),
                    Start = fun(_) ->
                                    Key = gen_rpc:async_call(Node, erlang, byte_size, [Luggage]),
                                    {gen_rpc:yield(Key), gen_rpc_test_flow:mailbox()}
                            end,
                    Results = gen_rpc_test_flow:at_once(60, Start),
                    ?assert(lists:member({{badtcp, send_timeout}, []}, Results)),
                    ?assertEqual([], [R || R <- Results, R =/= {{badtcp, send_timeout}, []},
                                           R =/= {{badrpc, nodedown}, []}]),
                    nothing_held()
            end)
    after
        gen_rpc_test_node:thaw(Frozen)
    end.

%% A request that is refused where it is made has its response at once, alone or in a collection.
failed_at_once(Config) ->
    {Client, #{node := Node}} = restart(Config, [{max_message_size, 10000}], []),
    run(Client,
        fun() ->
                Node = gen_rpc:call(Node, erlang, node, []),
                Large = binary:copy(<<"x">>, 20000),
                Send = fun() -> gen_rpc_erpc:send_request(Node, erlang, byte_size, [Large]) end,
                ?assertError({erpc, {message_too_big, _, 10000}},
                             gen_rpc_erpc:receive_response(Send())),
                ?assertMatch({badrpc, {message_too_big, _, 10000}},
                             gen_rpc:yield(gen_rpc:async_call(Node, erlang, byte_size, [Large]))),
                Id = Send(),
                Collection = gen_rpc_erpc:reqids_add(Id, label, gen_rpc_erpc:reqids_new()),
                ?assertEqual([{Id, label}], gen_rpc_erpc:reqids_to_list(Collection)),
                ?assertError({{erpc, {message_too_big, _, 10000}}, label, _},
                             gen_rpc_erpc:receive_response(Collection, 1000, true)),
                ?assertEqual([], gen_rpc_test_flow:mailbox()),
                nothing_held()
        end).

%% The receives of multicall, call and yield do not look at what was in the mailbox before: skipping
%% a message costs a reduction, so looking would cost 100,000.
full_mailbox_costs_nothing(Config) ->
    {Client, #{node := Node}} = restart(Config, [], []),
    Ways = [fun() -> {[Node, Node], []} = gen_rpc:multicall([Node, Node], erlang, node, []) end,
            fun() -> [{ok, Node}] = gen_rpc_erpc:multicall([Node], erlang, node, [], 5000) end,
            fun() -> Node = gen_rpc:yield(gen_rpc:async_call(Node, erlang, node, [])) end,
            fun() -> Node = gen_rpc_erpc:call(Node, erlang, node, []) end],
    [run(Client,
         fun() ->
                 Empty = reductions(Way),
                 lists:foreach(fun(I) -> self() ! I end, lists:seq(1, 100000)),
                 ?assert(reductions(Way) < Empty + 10000)
         end) || Way <- Ways].

%% The least of many, because a garbage collection is no fault of the call that it happens in.
reductions(Call) ->
    lists:min([begin
                   {reductions, Before} = process_info(self(), reductions),
                   _ = Call(),
                   {reductions, After} = process_info(self(), reductions),
                   After - Before
               end || _ <- lists:seq(1, 30)]).

%%% Helpers

pair(Config) -> proplists:get_value(pair, Config).

restart(Config, ClientSettings, ServerSettings) ->
    {Ports, Settings} = lists:partition(fun({Key, _}) -> Key =:= port end, ClientSettings),
    Server = [{tcp_server_port, Port} || {port, Port} <- Ports],
    gen_rpc_test_pair:restart(pair(Config), Settings, Server ++ ServerSettings).

counter(Node, Name) ->
    gen_rpc_test_flow:counter(Node, Name).

start_work(Server) ->
    ok = run(Server, fun gen_rpc_test_flow:start_gauge/0),
    run(Server, fun gen_rpc_test_flow:close_gate/0).

at_work(Node) ->
    maps:get(now, gen_rpc:call(Node, gen_rpc_test_flow, gauge, [])).

%%% What the holders of the calling node have

holders() ->
    [Pid || {_, Pid, _, _} <- supervisor:which_children(gen_rpc_holder_sup), is_pid(Pid)].

%% Of each request its takers, its outcome and its timer.
held() ->
    [{element(5, Held), outcome(element(4, Held)), element(6, Held)}
     || Holder <- holders(), Held <- maps:values(element(4, sys:get_state(Holder)))].

outcome(none) -> none;
outcome(Answer) -> gen_rpc_request:outcome(Answer).

takers() ->
    lists:append([Takers || {Takers, _, _} <- held()]).

%% Waits until they have nothing, watch over nobody, and have no helper.
nothing_held() ->
    wait(fun() ->
                 held() =:= [] andalso lists:all(fun is_idle/1, holders()) andalso
                     lists:all(fun({_, _, _, Helpers}) -> Helpers =:= 0 end,
                               ets:tab2list(gen_rpc_holder))
         end).

is_idle(Holder) ->
    map_size(element(5, sys:get_state(Holder))) =:= 0 andalso
        process_info(Holder, monitors) =:= {monitors, []}.
