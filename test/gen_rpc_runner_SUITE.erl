%% SPDX-License-Identifier: Apache-2.0
%% Runners of ordered casts and broadcasts: how they end, and what an application that does not run says.
-module(gen_rpc_runner_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, end_per_testcase/2]).
-export([runner_finishes/1, killed_runner_ends_the_connection/1, not_started/1]).
-export([note/2, collect/1, start_collector/1, stop_collector/1, collected/1]).

-import(gen_rpc_test_node, [call/4, run/2, wait/1]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [runner_finishes, killed_runner_ends_the_connection, not_started].

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

%% What has arrived in order is run, though the connection has ended in good order meanwhile.
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

%% Nobody could say any more what of the window is free, so the connection ends, and another one is made.
killed_runner_ends_the_connection(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    true = call(Client, gen_rpc, ordered_cast, [Node, erlang, node, []]),
    wait(fun() -> run(Server, fun() -> length(runners()) =:= 1 end) end),
    true = run(Server, fun() -> exit(hd(runners()), kill) end),
    ?assertMatch([#{reason := {runner_ended, killed}}],
                 gen_rpc_test_pair:lines(Server, "incoming connection lost", 1)),
    ?assertEqual(Node, call(Client, gen_rpc, call, [Node, erlang, node, []])).

%% Sending says that the application does not run; only the own node needs no connection.
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
