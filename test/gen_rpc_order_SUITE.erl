%% SPDX-License-Identifier: Apache-2.0
%% Ordered casts and broadcasts between real nodes: their order, their time limits, what overload
%% and cancels do, and what is counted.
-module(gen_rpc_order_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, end_per_testcase/2]).
-export([ordered_casts_run_in_turn/1, bad_ends_do_not_stop_the_next/1,
         ordered_casts_to_the_own_node/1, own_node_has_limits/1,
         broadcasts_keep_their_order/1, abcast_to_many/1, nobody_waits_for_another/1,
         sbcast_tells_good_from_bad/1,
         sbcast_has_one_time_limit/1, bad_arguments/1, not_started/1,
         policies/1, cancelled_worker_is_killed/1, worker_of_a_lost_call_is_killed/1,
         workers_live_on/1, limit_of_workers/1, limit_outlives_the_connection/1,
         runner_finishes/1, killed_runner_ends_the_connection/1]).
-export([note/2, collect/1, slow/2, start_collector/1, stop_collector/1, collected/1,
         run_policy/2]).

-import(gen_rpc_test_node, [call/4, run/2, wait/1]).

-define(DOWN, 'nobody@127.0.0.1').

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [ordered_casts_run_in_turn, bad_ends_do_not_stop_the_next, ordered_casts_to_the_own_node,
     own_node_has_limits, broadcasts_keep_their_order, abcast_to_many,
     nobody_waits_for_another, sbcast_tells_good_from_bad,
     sbcast_has_one_time_limit, bad_arguments, not_started, policies, cancelled_worker_is_killed,
     worker_of_a_lost_call_is_killed, workers_live_on, limit_of_workers,
     limit_outlives_the_connection, runner_finishes, killed_runner_ends_the_connection].

init_per_suite(Config) ->
    [{pair, gen_rpc_test_pair:start()} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(proplists:get_value(pair, Config)).

end_per_testcase(_Case, Config) ->
    {Client, Server} = Pair = proplists:get_value(pair, Config),
    [call(T, ?MODULE, stop_collector, [seen]) || T <- [Client, Server]],
    gen_rpc_test_pair:finish(Pair).

restart(Config, ClientSettings, ServerSettings) ->
    gen_rpc_test_pair:restart(proplists:get_value(pair, Config), ClientSettings, ServerSettings).

%%% Ordered casts

ordered_casts_run_in_turn(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = call(Server, ?MODULE, start_collector, [seen]),
    Size = fun(N) -> binary:copy(<<N:32>>, case N rem 50 of 0 -> 10000; _ -> 1 end) end,
    run(Client, fun() ->
                        [true = gen_rpc:ordered_cast(Node, ?MODULE, note, [seen, {N, Size(N)}])
                         || N <- lists:seq(1, 2000)]
                end),
    wait(fun() -> length(call(Server, ?MODULE, collected, [seen])) =:= 2000 end),
    ?assertEqual(lists:seq(1, 2000), [N || {N, _} <- call(Server, ?MODULE, collected, [seen])]).

bad_ends_do_not_stop_the_next(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = call(Server, ?MODULE, start_collector, [seen]),
    run(Client,
        fun() ->
                Cast = fun(M, F, A) -> true = gen_rpc:ordered_cast(Node, M, F, A) end,
                Cast(erlang, error, [oops]),
                Cast(?MODULE, note, [seen, 1]),
                Cast(gen_rpc_test_target, end_self, [kill]),
                Cast(?MODULE, note, [seen, 2]),
                Cast(no_such_module, f, []),
                Cast(?MODULE, slow, [seen, 3]),
                Cast(?MODULE, note, [seen, 4])
        end),
    wait(fun() -> call(Server, ?MODULE, collected, [seen]) =:= [1, 2, 3, 4] end),
    ?assertMatch([#{class := error}, #{reason := undef}],
                 gen_rpc_test_pair:lines(Server, "cast failed", 2)).

ordered_casts_to_the_own_node(Config) ->
    {#{node := Node} = Client, _} = restart(Config, [], []),
    ok = call(Client, ?MODULE, start_collector, [seen]),
    run(Client,
        fun() ->
                [true = gen_rpc:ordered_cast(Node, ?MODULE, F, [seen, N])
                 || N <- lists:seq(1, 3000), F <- [case N of 1 -> slow; _ -> note end]]
        end),
    wait(fun() -> length(call(Client, ?MODULE, collected, [seen])) =:= 3000 end),
    ?assertEqual(lists:seq(1, 3000), call(Client, ?MODULE, collected, [seen])),
    ?assertMatch(#{casts_blocked := Blocked} when Blocked > 0,
                 call(Client, gen_rpc_counters, get, [])).

own_node_has_limits(Config) ->
    [begin
         {#{node := Node} = Client, _} =
             restart(Config, [{send_timeout, 200}, {cast_overload_policy, Policy}], []),
         Result = run(Client,
                      fun() ->
                              true = gen_rpc:ordered_cast(Node, timer, sleep, [infinity]),
                              Cast = fun() ->
                                             catch gen_rpc:ordered_cast(Node, erlang, node, [])
                                     end,
                              [true = Cast() || _ <- lists:seq(1, 1000)],
                              %% Another destination is not concerned.
                              true = gen_rpc:ordered_cast({Node, key}, erlang, node, []),
                              R = Cast(),
                              {messages, []} = process_info(self(), messages),
                              R
                      end),
         case {Policy, Result} of
             {error, {'EXIT', {overload, _}}} -> ok;
             {_, true} -> ok
         end,
         ?assertMatch(#{Counter := 1}, call(Client, gen_rpc_counters, get, []))
     end || {Policy, Counter} <- [{block, casts_dropped}, {drop, casts_dropped},
                                  {error, casts_refused}]].

%%% Broadcasts

broadcasts_keep_their_order(Config) ->
    {#{node := Own} = Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = call(Server, ?MODULE, start_collector, [seen]),
    ok = call(Client, ?MODULE, start_collector, [seen]),
    run(Client, fun() ->
                        [abcast = gen_rpc:abcast(Nodes, seen, {N, binary:copy(<<N>>, N * 20)})
                         || N <- lists:seq(1, 1000),
                            Nodes <- [case N rem 2 of 0 -> [Own, Node]; 1 -> [Node, Own] end]]
                end),
    [begin
         wait(fun() -> length(call(T, ?MODULE, collected, [seen])) =:= 1000 end),
         ?assertEqual(lists:seq(1, 1000), [N || {N, _} <- call(T, ?MODULE, collected, [seen])])
     end || T <- [Client, Server]].

abcast_to_many(Config) ->
    {#{node := Own} = Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = call(Server, ?MODULE, start_collector, [seen]),
    ok = call(Client, ?MODULE, start_collector, [seen]),
    run(Client,
        fun() ->
                abcast = gen_rpc:abcast([?DOWN, {Node, key}, Node, Own, Node], seen, m),
                abcast = gen_rpc:abcast([Node, Own], no_such_name, m),
                abcast = gen_rpc:abcast([], seen, m),
                abcast = gen_rpc:abcast(seen, m),
                {messages, []} = process_info(self(), messages)
        end),
    wait(fun() -> length(call(Server, ?MODULE, collected, [seen])) =:= 4 end),
    wait(fun() -> length(call(Client, ?MODULE, collected, [seen])) =:= 2 end),
    ?assertMatch([#{reason := nodedown, node := ?DOWN}],
                 gen_rpc_test_pair:lines(Client, "broadcast dropped")),
    ?assertMatch(#{casts_failed := 1}, call(Client, gen_rpc_counters, get, [])).

%% Two nodes never answer. The others get their message at once, and the caller waits for both at
%% the same time.
nobody_waits_for_another(Config) ->
    {Hole, HolePort} = gen_rpc_test_hole:silent(),
    {Client0, #{node := Node, port := Port} = Server} = restart(Config, [], []),
    Silent = ['one@127.0.0.1', 'two@127.0.0.1'],
    Ways = maps:from_list([{N, {tcp, HolePort}} || N <- Silent]),
    Client = gen_rpc_test_node:restart_app(
               Client0, [{client_config_per_node, {internal, Ways#{Node => {tcp, Port}}}},
                         {send_timeout, 1000}, {sbcast_receive_timeout, 1000}]),
    ok = call(Server, ?MODULE, start_collector, [seen]),
    Caller = call(Client, erlang, spawn, [gen_rpc, abcast, [Silent ++ [Node], seen, m]]),
    wait(fun() -> call(Server, ?MODULE, collected, [seen]) =:= [m] end),
    ?assert(call(Client, erlang, is_process_alive, [Caller])),
    wait(fun() -> not call(Client, erlang, is_process_alive, [Caller]) end),
    [?assertMatch({Time, Result} when Time > 900000 andalso Time < 1900000,
                  call(Client, timer, tc, [gen_rpc, F, [Silent ++ [Node], seen, m]]))
     || {F, Result} <- [{abcast, abcast}, {sbcast, {[Node], Silent}}]],
    ?assertEqual([m, m, m], call(Server, ?MODULE, collected, [seen])),
    ok = gen_rpc_test_hole:close(Hole).

sbcast_tells_good_from_bad(Config) ->
    {#{node := Own} = Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = call(Server, ?MODULE, start_collector, [seen]),
    run(Client,
        fun() ->
                {[{Node, k}, Node, Node], [?DOWN, Own]} =
                    gen_rpc:sbcast([?DOWN, {Node, k}, Own, Node, Node], seen, m),
                {[], [Node, Own]} = gen_rpc:sbcast([Node, Own], no_such_name, m),
                {[Own, Node], []} = gen_rpc:sbcast([Own, Node], init, ignored),
                {[Node], [Own]} = gen_rpc:sbcast(seen, m),
                {[], []} = gen_rpc:sbcast([], seen, m),
                {messages, []} = process_info(self(), messages)
        end),
    ?assertEqual([m, m, m, m], call(Server, ?MODULE, collected, [seen])).

sbcast_has_one_time_limit(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [{sbcast_receive_timeout, 500}], []),
    Dests = [{Node, N} || N <- lists:seq(1, 20)],
    {Dests, []} = call(Client, gen_rpc, sbcast, [Dests, init, ignored]),
    OsPid = gen_rpc_test_node:freeze(Server),
    try
        {Time, Result} = run(Client, fun() ->
                                             R = timer:tc(gen_rpc, sbcast, [Dests, init, ignored]),
                                             {messages, []} = process_info(self(), messages),
                                             R
                                     end),
        ?assertEqual({[], Dests}, Result),
        ?assert(Time > 400000 andalso Time < 3000000)
    after
        gen_rpc_test_node:thaw(OsPid)
    end,
    ?assertMatch(#{calls_cancelled := 20}, call(Client, gen_rpc_counters, get, [])).

bad_arguments(Config) ->
    {Client, _} = restart(Config, [], []),
    [?assertMatch({F, A, {'EXIT', {badarg, _}}},
                  {F, A, run(Client, fun() -> catch apply(gen_rpc, F, A) end)})
     || {F, As} <- [{ordered_cast, [["n", m, f, []], [n, 1, f, []], [n, m, "f", []], [n, m, f, a]]},
                    {abcast, [["name", m], [n, name, m], [[n | o], name, m], [[n], "name", m],
                              [["n"], name, m]]},
                    {sbcast, [["name", m], [n, name, m], [[n | o], name, m], [[n], "name", m],
                              [[{"n", 1}], name, m]]}],
        A <- As].

not_started(Config) ->
    {#{node := Own} = Client, #{node := Node}} = restart(Config, [], []),
    ok = gen_rpc_test_node:stop_app(Client),
    [?assertMatch({F, {'EXIT', {{not_started, gen_rpc}, _}}},
                  {F, run(Client, fun() -> catch apply(gen_rpc, F, A) end)})
     || {F, A} <- [{ordered_cast, [Node, erlang, node, []]},
                   {ordered_cast, [Own, erlang, node, []]},
                   {abcast, [[Node], init, m]}, {sbcast, [[Node], init, m]}]],
    ?assertEqual({[Own], []}, call(Client, gen_rpc, sbcast, [init, ignored])),
    ?assertEqual([0], lists:usort(maps:values(call(Client, gen_rpc_counters, get, [])))).

%%% Overload

policies(Config) ->
    [begin
         {Client, #{node := Node} = Server} =
             restart(Config, [{cast_overload_policy, Policy}], []),
         Node = call(Client, gen_rpc, call, [Node, erlang, node, []]),
         OsPid = gen_rpc_test_node:freeze(Server),
         Results = call(Client, ?MODULE, run_policy, [Node, How]),
         gen_rpc_test_node:thaw(OsPid),
         Counted = call(Client, gen_rpc_counters, get, []),
         case Policy of
             block ->
                 ?assertMatch({true, Ms} when Ms >= 250, Results),
                 ?assertMatch(#{casts_blocked := B, casts_blocked_ms := Ms, casts_dropped := D,
                                casts_refused := 0}
                              when B >= 1 andalso Ms >= 250 andalso D >= 1, Counted);
             drop ->
                 ?assertMatch({true, Ms} when Ms < 250, Results),
                 ?assertMatch(#{casts_blocked := 0, casts_dropped := 1, casts_refused := 0},
                              Counted);
             error ->
                 ?assertMatch({{'EXIT', {overload, _}}, Ms} when Ms < 250, Results),
                 ?assertMatch(#{casts_blocked := 0, casts_dropped := 0, casts_refused := 1},
                              Counted)
         end
     end || {Policy, How} <- [{block, cast} |
                              [{P, H} || P <- [drop, error], H <- [cast, ordered_cast, abcast]]]].

%% Casts until one is not taken as the others; that one's result, and how long it took.
-spec run_policy(node(), atom()) -> {term(), non_neg_integer()}.
run_policy(Node, How) ->
    Body = binary:copy(<<0>>, 65536),
    {Time, Result} = timer:tc(fun() -> catch policy_cast(How, Node, Body) end),
    #{casts_dropped := D, casts_refused := R} = gen_rpc_counters:get(),
    case D + R of
        0 -> run_policy(Node, How);
        _ -> {messages, []} = process_info(self(), messages),
             {Result, Time div 1000}
    end.

policy_cast(cast, Node, Body) -> gen_rpc:cast(Node, erlang, size, [Body], 300);
policy_cast(ordered_cast, Node, Body) -> gen_rpc:ordered_cast(Node, erlang, size, [Body]);
policy_cast(abcast, Node, Body) -> abcast = gen_rpc:abcast([Node], nobody, Body), true.

%%% Cancels

cancelled_worker_is_killed(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{kill_on_cancel, true}]),
    Count = fun() -> maps:get(workers_killed, call(Server, gen_rpc_counters, get, [])) end,
    ?assertEqual({badrpc, timeout},
                 call(Client, gen_rpc, call, [Node, ?MODULE, slow, [x, 60000], 100])),
    wait(fun() -> Count() =:= 1 end),
    wait(fun() -> workers(Server) =:= 0 end),
    ?assertEqual(Node, call(Client, gen_rpc, call, [Node, erlang, node, []])),
    true = call(Client, gen_rpc, cast, [Node, timer, sleep, [300]]),
    ?assertEqual({badrpc, timeout},
                 call(Server, gen_rpc, call, [Node, timer, sleep, [60000], 100])),
    ?assertEqual(2, Count()),
    ?assertMatch(#{calls_cancelled := 1}, call(Client, gen_rpc_counters, get, [])).

worker_of_a_lost_call_is_killed(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{kill_on_cancel, true}]),
    _ = run(Client, fun() -> [spawn(fun() -> gen_rpc:call(Node, timer, sleep, [60000], 60000) end)
                              || _ <- lists:seq(1, 10)] end),
    wait(fun() -> workers(Server) =:= 10 end),
    ok = gen_rpc_test_node:stop_app(Client),
    wait(fun() -> workers(Server) =:= 0 end),
    ?assertMatch(#{workers_killed := 10}, call(Server, gen_rpc_counters, get, [])).

workers_live_on(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ?assertEqual({badrpc, timeout}, call(Client, gen_rpc, call, [Node, timer, sleep, [700], 100])),
    ?assertEqual(1, workers(Server)),
    wait(fun() -> workers(Server) =:= 0 end),
    ?assertMatch(#{workers_killed := 0}, call(Server, gen_rpc_counters, get, [])).

workers(T) ->
    run(T, fun() -> length([P || P <- processes(), process_info(P, current_function) =:=
                                     {current_function, {timer, sleep, 1}}]) end).

%%% The limit of workers

limit_of_workers(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{max_concurrent_calls, 3}]),
    Started = run(Client,
                  fun() -> [spawn_monitor(fun() -> ok = gen_rpc:call(Node, timer, sleep, [100]) end)
                            || _ <- lists:seq(1, 15)],
                           [true = gen_rpc:cast(Node, timer, sleep, [100])
                            || _ <- lists:seq(1, 15)],
                           Max = fun F(0, M) -> M;
                                     F(N, M) ->
                                         receive {'DOWN', _, _, _, normal} -> F(N - 1, M)
                                         after 20000 -> M
                                         end
                                 end,
                           Max(15, done)
                  end),
    ?assertEqual(done, Started),
    wait(fun() -> workers(Server) =:= 0 end).

limit_outlives_the_connection(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], [{max_concurrent_calls, 3}]),
    [true = call(Client, gen_rpc, cast, [Node, timer, sleep, [1500]]) || _ <- [1, 2]],
    wait(fun() -> workers(Server) =:= 2 end),
    ok = gen_rpc_test_node:stop_app(Client),
    wait(fun() -> [S || #{state := S} <- gen_rpc_test_node:acceptors(Server)] =:= [down] end),
    wait(fun() -> workers(Server) =:= 0 end),
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end).

%%% Runners

runner_finishes(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ok = call(Server, ?MODULE, start_collector, [seen]),
    run(Client, fun() ->
                        true = gen_rpc:ordered_cast(Node, timer, sleep, [500]),
                        [true = gen_rpc:ordered_cast(Node, ?MODULE, note, [seen, N])
                         || N <- [1, 2, 3]],
                        Node = gen_rpc:call(Node, erlang, node, [])
                end),
    ok = gen_rpc_test_node:stop_app(Client),
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end),
    ?assertEqual([], call(Server, ?MODULE, collected, [seen])),
    wait(fun() -> call(Server, ?MODULE, collected, [seen]) =:= [1, 2, 3] end),
    wait(fun() -> run(Server, fun() -> runners() =:= [] end) end).

runners() ->
    [P || P <- processes(),
          {dictionary, D} <- [process_info(P, dictionary)],
          lists:member({'$initial_call', {gen_rpc_ordered, init, 1}}, D)].

killed_runner_ends_the_connection(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    true = call(Client, gen_rpc, ordered_cast, [Node, erlang, node, []]),
    wait(fun() -> run(Server, fun() -> length(runners()) =:= 1 end) end),
    true = run(Server, fun() -> exit(hd(runners()), kill) end),
    ?assertMatch([#{reason := {runner_ended, killed}}],
                 gen_rpc_test_pair:lines(Server, "incoming connection lost", 1)),
    ?assertEqual(Node, call(Client, gen_rpc, call, [Node, erlang, node, []])).

%%% On the nodes

-spec start_collector(atom()) -> ok.
start_collector(Name) ->
    true = register(Name, spawn(?MODULE, collect, [[]])),
    ok.

-spec stop_collector(atom()) -> ok.
stop_collector(Name) ->
    _ = [exit(Pid, kill) || Pid <- [whereis(Name)], is_pid(Pid)],
    wait(fun() -> whereis(Name) =:= undefined end).

-spec collect([term()]) -> no_return().
collect(Seen) ->
    receive
        {collected, Pid, Ref} -> Pid ! {Ref, lists:reverse(Seen)}, collect(Seen);
        Message -> collect([Message | Seen])
    end.

-spec collected(atom()) -> [term()].
collected(Name) ->
    Ref = make_ref(),
    Name ! {collected, self(), Ref},
    receive {Ref, Seen} -> Seen end.

-spec note(atom(), term()) -> term().
note(Name, What) ->
    Name ! What.

-spec slow(atom(), term()) -> term().
slow(x, Time) ->
    timer:sleep(Time);
slow(Name, What) ->
    timer:sleep(100),
    Name ! What.
