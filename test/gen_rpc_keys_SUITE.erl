%% SPDX-License-Identifier: Apache-2.0
%% Sharding: {Node, Key} has a connection of its own, whatever the key is and whichever function it is
%% given to; and what many of them cost and leave behind.
-module(gen_rpc_keys_SUITE).

-behaviour(ct_suite).

-include_lib("proper/include/proper.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2,
         end_per_testcase/2]).
-export([any_term_is_a_key/1, equal_keys_are_one_key/1, every_function_takes_keys/1,
         keys_in_multi_node_functions/1, order_is_that_of_a_key/1, many_keys/1,
         first_callers_of_a_key_share_it/1, keys_of_the_own_node/1, one_key_lost/1,
         keys_are_not_logged/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).

-define(TARGET, gen_rpc_test_target).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [any_term_is_a_key, equal_keys_are_one_key, every_function_takes_keys,
     keys_in_multi_node_functions, order_is_that_of_a_key, many_keys,
     first_callers_of_a_key_share_it, keys_of_the_own_node, one_key_lost, keys_are_not_logged].

init_per_suite(Config) ->
    [{pair, gen_rpc_test_pair:start()} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(pair(Config)).

init_per_testcase(_Case, Config) ->
    [{nodes, gen_rpc_test_pair:restart(pair(Config), [], [])} | Config].

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(pair(Config)).

%%% Keys

%% No term that PropEr can think of is not a key, with a connection of its own.
any_term_is_a_key(Config) ->
    {Client, #{node := Node}} = both(Config),
    ?assertEqual(true, run(Client,
                           fun() ->
                                   proper:quickcheck(prop_key(Node),
                                                     [quiet, {numtests, 150}, {max_size, 20}])
                                       orelse proper:counterexample()
                           end)).

prop_key(Node) ->
    ?FORALL({A, B}, {any(), any()},
            begin
                [Node, Node] = [gen_rpc:call({Node, Key}, erlang, node, []) || Key <- [A, B]],
                {ok, PortA} = gen_rpc_registry:lookup({Node, A}),
                {ok, PortB} = gen_rpc_registry:lookup({Node, B}),
                (A =:= B) =:= (PortA =:= PortB)
            end).

%% Keys are compared as =:= does: 1 and 1.0 are two, a list made here and one made there are one.
equal_keys_are_one_key(Config) ->
    {Client, #{node := Node}} = both(Config),
    Port = fun(Key) ->
                   run(Client, fun() ->
                                       Node = gen_rpc:call({Node, Key}, erlang, node, []),
                                       gen_rpc_registry:lookup({Node, Key})
                               end)
           end,
    ?assertEqual(Port([a, <<"b">>]), Port([a | [list_to_binary("b")]])),
    ?assertEqual(Port(#{a => 1, b => 2}), Port(maps:from_list([{b, 2}, {a, 1}]))),
    ?assertNotEqual(Port(1), Port(1.0)),
    ?assertNotEqual(Port("a"), Port(<<"a">>)),
    ?assertNotEqual(Port(undefined), run(Client, fun() ->
                                                         Node = gen_rpc:call(Node, erlang, node, []),
                                                         gen_rpc_registry:lookup(Node)
                                                 end)).

%% A key can stand wherever a node can, in all functions that take one.
every_function_takes_keys(Config) ->
    {Client, #{node := Node} = Server} = both(Config),
    ok = run(Server, fun ?TARGET:start_counter/0),
    Ways = [fun(D) -> gen_rpc:call(D, erlang, node) end,
            fun(D) -> gen_rpc:call(D, fun() -> node() end) end,
            fun(D) -> gen_rpc:cast(D, ?TARGET, count, [x]) end,
            fun(D) -> gen_rpc:safe_cast(D, ?TARGET, count, [x]) end,
            fun(D) -> gen_rpc:ordered_cast(D, ?TARGET, count, [x]) end,
            fun(D) -> gen_rpc:yield(gen_rpc:async_call(D, erlang, node)) end,
            fun(D) -> gen_rpc:multicall([D], erlang, node, []) end,
            fun(D) -> gen_rpc:eval_everywhere([D], ?TARGET, count, [x]) end,
            fun(D) -> gen_rpc:abcast([D], ?TARGET, {count, x}) end,
            fun(D) -> gen_rpc:sbcast([D], ?TARGET, {count, x}) end,
            fun(D) -> gen_rpc_erpc:call(D, erlang, node, []) end,
            fun(D) -> gen_rpc_erpc:cast(D, ?TARGET, count, [x]) end,
            fun(D) -> gen_rpc_erpc:multicall([D], erlang, node, []) end,
            fun(D) -> gen_rpc_erpc:multicast([D], ?TARGET, count, [x]) end,
            fun(D) -> gen_rpc_erpc:receive_response(gen_rpc_erpc:send_request(D, erlang, node, []))
            end],
    Dests = [{Node, {?FUNCTION_NAME, I}} || I <- lists:seq(1, length(Ways))],
    Results = run(Client, fun() -> [Way(Dest) || {Way, Dest} <- lists:zip(Ways, Dests)] end),
    [Fun, Multi] = [Node, {[Node], []}],
    ?assertEqual([Node, Fun, true, true, true, Node, Multi, abcast, abcast,
                  {[lists:nth(10, Dests)], []}, Node, ok, [{ok, Node}], ok, Node], Results),
    wait(fun() -> length(run(Server, fun ?TARGET:counted/0)) =:= 8 end),
    Connected = run(Client, fun() -> [Dest || {Dest, _} <- gen_rpc_registry:clients()] end),
    ?assertEqual(lists:sort(Dests), lists:sort(Connected)).

%% Destinations with keys, without, and of several nodes go together; what comes back is in their
%% order and has them as they were given.
keys_in_multi_node_functions(Config) ->
    {Client, #{node := Node} = Server} = both(Config),
    #{node := Own} = Client,
    Down = {'nobody@127.0.0.9', key},
    Dests = [{Node, a}, Own, Node, Down, {Own, k}, {Node, b}, {Node, a}],
    Good = Dests -- [Down],
    Nodes = [gen_rpc_dest:node(Dest) || Dest <- Good],
    ok = run(Server, fun ?TARGET:start_counter/0),
    ok = run(Client, fun ?TARGET:start_counter/0),
    run(Client,
        fun() ->
                ?assertEqual({Nodes, [Down]}, gen_rpc:multicall(Dests, erlang, node, [])),
                ?assertEqual({Good, [Down]}, gen_rpc:sbcast(Dests, ?TARGET, {count, s})),
                ?assertEqual(abcast, gen_rpc:abcast(Dests, ?TARGET, {count, a})),
                ?assertEqual(abcast, gen_rpc:eval_everywhere(Dests, ?TARGET, count, [e]))
        end),
    Expected = fun(Times) -> lists:sort([X || X <- [s, a, e], _ <- lists:seq(1, Times)]) end,
    [wait(fun() -> lists:sort(run(At, fun ?TARGET:counted/0)) =:= Expected(Times) end)
     || {At, Times} <- [{Server, 4}, {Client, 2}]].

%% What is in order is so for each key by itself: one that is stuck does not hold up another.
order_is_that_of_a_key(Config) ->
    {Client, #{node := Node} = Server} = both(Config),
    ok = run(Server, fun ?TARGET:start_counter/0),
    Gate = ?FUNCTION_NAME,
    run(Client,
        fun() ->
                true = gen_rpc:ordered_cast({Node, stuck}, ?TARGET, wait_at_gate, [Gate]),
                true = gen_rpc:ordered_cast({Node, stuck}, ?TARGET, count, [last]),
                [true = gen_rpc:ordered_cast({Node, free}, ?TARGET, count, [I])
                 || I <- lists:seq(1, 100)]
        end),
    wait(fun() -> run(Server, fun ?TARGET:counted/0) =:= lists:seq(1, 100) end),
    wait(fun() -> run(Server, fun() -> ?TARGET:at_gate(Gate) end) end),
    ok = run(Server, fun() -> ?TARGET:open_gate(Gate) end),
    wait(fun() -> run(Server, fun ?TARGET:counted/0) =:= lists:seq(1, 100) ++ [last] end).

%%% Many of them

%% Five hundred keys at once are five hundred connections, and the node is listed once. When they are
%% not used any more they go, on both sides, and leave nothing.
many_keys(Config) ->
    Settings = [{client_inactivity_timeout, 2000}],
    {Client, #{node := Node} = Server} = gen_rpc_test_pair:restart(pair(Config), Settings, []),
    Before = [gen_rpc_test_node:resources(N) || N <- [Client, Server]],
    Count = 500,
    Results = run(Client,
                  fun() ->
                          Call = fun(I) -> gen_rpc:call({Node, I}, ?TARGET, echo, [I], 20000) end,
                          gen_rpc_test_task:results(gen_rpc_test_task:start(Count, Call))
                  end),
    ?assertEqual(lists:seq(1, Count), Results),
    ?assertEqual([Node], run(Client, fun gen_rpc:nodes/0)),
    ?assertEqual(Count, length(run(Client, fun gen_rpc_registry:clients/0))),
    ?assertEqual(Count, length(gen_rpc_test_node:acceptors(Server))),
    wait(fun() -> [gen_rpc_test_node:resources(N) || N <- [Client, Server]] =:= Before end),
    ?assertEqual([], run(Client, fun gen_rpc:nodes/0)).

%% Hundreds that ask for a new key at the same time get one connection between them.
first_callers_of_a_key_share_it(Config) ->
    {Client, #{node := Node} = Server} = both(Config),
    run(Client,
        fun() ->
                Call = fun(_) -> gen_rpc:call({Node, new}, erlang, node, []) end,
                Results = gen_rpc_test_task:results(gen_rpc_test_task:start(300, Call)),
                ?assertEqual([Node], lists:usort(Results))
        end),
    ?assertEqual(1, length(gen_rpc_test_node:acceptors(Server))).

%% Keys make no connection to the own node.
keys_of_the_own_node(Config) ->
    {Client, _} = both(Config),
    run(Client,
        fun() ->
                [?assertEqual(node(), gen_rpc:call({node(), Key}, erlang, node, []))
                 || Key <- [a, 1, self(), #{}]],
                ?assertEqual([], gen_rpc_registry:clients())
        end).

%% The end of one key's connection is nothing to the others, and the key gets a new one.
one_key_lost(Config) ->
    {Client, #{node := Node} = Server} = both(Config),
    run(Client, fun() -> [Node = gen_rpc:call({Node, K}, erlang, node, []) || K <- [a, b]] end),
    Waiting = gen_rpc_test_task:start(
                fun() -> run(Client, fun() -> gen_rpc:call({Node, b}, ?TARGET, wait_at_gate,
                                                           [?FUNCTION_NAME]) end)
                end),
    wait(fun() -> run(Server, fun() -> ?TARGET:at_gate(?FUNCTION_NAME) end) end),
    true = run(Client, fun() ->
                               {ok, Pid} = gen_rpc_registry:client({Node, a}),
                               exit(Pid, kill)
                       end),
    wait(fun() -> run(Client, fun() -> gen_rpc_registry:lookup({Node, a}) =:= none end) end),
    ?assertEqual(Node, run(Client, fun() -> gen_rpc:call({Node, a}, erlang, node, []) end)),
    ok = run(Server, fun() -> ?TARGET:open_gate(?FUNCTION_NAME) end),
    ?assertEqual({through, ?FUNCTION_NAME}, gen_rpc_test_task:result(Waiting)),
    ok = supervisor_has_said(Client, killed),
    ok = gen_rpc_test_events:clear(Client).

%% A key is the user's own data.
keys_are_not_logged(Config) ->
    {Client, #{node := Node}} = both(Config),
    Secret = "do not log this key",
    run(Client,
        fun() ->
                {badrpc, nodedown} = gen_rpc:call({'nobody@127.0.0.9', Secret}, erlang, node, []),
                Node = gen_rpc:call({Node, Secret}, erlang, node, []),
                {ok, Pid} = gen_rpc_registry:client({Node, Secret}),
                Pid ! unexpected,
                ok = sys:terminate(Pid, crash)
        end),
    %% What the process, and its supervisor after it, say of a crash that was asked for.
    ok = supervisor_has_said(Client, crash),
    ?assertEqual(nomatch, string:find(gen_rpc_test_events:text(Client), Secret)),
    ok = gen_rpc_test_events:clear(Client).

supervisor_has_said(Node, Reason) ->
    wait(fun() ->
                 lists:any(fun(#{report := #{label := {supervisor, child_terminated},
                                             report := Report}}) ->
                                   lists:keyfind(reason, 1, Report) =:= {reason, Reason};
                              (_) ->
                                   false
                           end, gen_rpc_test_events:others(Node))
         end).

%%% Helpers

pair(Config) -> proplists:get_value(pair, Config).

both(Config) -> proplists:get_value(nodes, Config).
