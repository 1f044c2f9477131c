%% SPDX-License-Identifier: Apache-2.0
%% A node that has as many processes as it may have: requests are refused one by one, the connection
%% lives on, and when there is room again all is as it was.
-module(gen_rpc_exhaustion_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, end_per_testcase/2]).
-export([no_processes/1, no_processes_with_a_limit/1, no_processes_for_a_runner/1]).
-export([no_processes_at_home/1, killing_when_there_are_no_processes/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).

-define(TARGET, gen_rpc_test_target).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [no_processes, no_processes_with_a_limit, killing_when_there_are_no_processes,
     no_processes_for_a_runner, no_processes_at_home].

%% The least that a VM can be started with.
init_per_suite(Config) ->
    Few = gen_rpc_test_node:keep(gen_rpc_test_node:start([{args, ["+P", "1024"]}])),
    Client = gen_rpc_test_node:keep(gen_rpc_test_node:start([])),
    [ok = gen_rpc_test_events:install(T) || T <- [Client, Few]],
    [{pair, {Client, Few}} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(proplists:get_value(pair, Config)).

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(proplists:get_value(pair, Config)).

no_processes(Config) ->
    refuse_and_go_on(Config, []).

%% A request that could not be started takes no place of those that may run.
no_processes_with_a_limit(Config) ->
    refuse_and_go_on(Config, [{max_concurrent_calls, 2}]).

killing_when_there_are_no_processes(Config) ->
    refuse_and_go_on(Config, [{kill_on_cancel, true}]).

refuse_and_go_on(Config, Settings) ->
    {Client, #{node := Node} = Server} = restart(Config, Settings),
    true = run(Client, fun() -> gen_rpc:ordered_cast(Node, erlang, node, []) end),
    Port = port_to(Client, Node),
    File = gen_rpc_test_full:fill(Config, Client, Server),
    run(Client,
        fun() ->
                [?assertEqual({badrpc, system_limit}, gen_rpc:call(Node, erlang, node, []))
                 || _ <- lists:seq(1, 20)],
                %% Not more: for each the VM logs a line, and OTP's logger_proxy dies of a thousand.
                [true = gen_rpc:cast(Node, ?TARGET, count, [lost]) || _ <- lists:seq(1, 100)],
                [true = gen_rpc:ordered_cast(Node, ?TARGET, count, [lost]) || _ <- [1, 2, 3]],
                {badrpc, system_limit} = gen_rpc:call(Node, erlang, node, [])
        end),
    ok = gen_rpc_test_full:free(File),
    wait(fun() -> is_free(Client, Server) end),
    ok = run(Server, fun ?TARGET:start_counter/0),
    run(Client,
        fun() ->
                [Node = gen_rpc:call(Node, erlang, node, []) || _ <- lists:seq(1, 20)],
                [true = gen_rpc:cast(Node, ?TARGET, count, [N]) || N <- lists:seq(1, 200)],
                [true = gen_rpc:ordered_cast(Node, ?TARGET, count, [N]) || N <- [201, 202]]
        end),
    wait(fun() -> lists:sort(run(Server, fun ?TARGET:counted/0)) =:= lists:seq(1, 202) end),
    ?assertEqual(Port, port_to(Client, Node)),
    ?assertEqual(["cast dropped"],
                 lists:usort([What || #{report := #{what := What, reason := system_limit}}
                                          <- gen_rpc_test_events:ours(Server)])).

%% The first ordered cast, and the first broadcast, of a connection start a process of their own.
no_processes_for_a_runner(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Port = port_to(Client, Node),
    File = gen_rpc_test_full:fill(Config, Client, Server),
    run(Client,
        fun() ->
                [true = gen_rpc:ordered_cast(Node, ?TARGET, count, [lost]) || _ <- [1, 2, 3]],
                abcast = gen_rpc:abcast([Node], init, nothing),
                {[], [Node]} = gen_rpc:sbcast([Node], init, nothing)
        end),
    ok = gen_rpc_test_full:free(File),
    wait(fun() -> is_free(Client, Server) end),
    %% More than the window, so none of it is lost for good.
    ok = run(Server, fun ?TARGET:start_counter/0),
    run(Client,
        fun() ->
                Luggage = binary:copy(<<"x">>, 100000),
                [true = gen_rpc:ordered_cast(Node, ?TARGET, count, [{N, Luggage}])
                 || N <- lists:seq(1, 20)],
                {[Node], []} = gen_rpc:sbcast([Node], init, nothing)
        end),
    wait(fun() -> length(run(Server, fun ?TARGET:counted/0)) =:= 20 end),
    ?assertEqual(Port, port_to(Client, Node)).

%% Ordered casts to the own node are dropped one by one as well.
no_processes_at_home(Config) ->
    {Client, Server} = restart(Config, []),
    Count = fun(Numbers) ->
                    [true = gen_rpc:ordered_cast(node(), ?TARGET, count, [N]) || N <- Numbers]
            end,
    ok = run(Server, fun ?TARGET:start_counter/0),
    File = gen_rpc_test_full:fill(Config, Client, Server, fun() -> Count([1, 2, 3]) end),
    ok = gen_rpc_test_full:free(File),
    wait(fun() -> is_free(Client, Server) end),
    _ = run(Server, fun() -> Count([4, 5, 6]) end),
    wait(fun() -> run(Server, fun ?TARGET:counted/0) =:= [4, 5, 6] end),
    ?assertMatch([_, _, _], [lost || #{report := #{what := "cast dropped", reason := system_limit}}
                                         <- gen_rpc_test_events:ours(Server)]).

%%% The limit

restart(Config, Settings) ->
    {Client, #{node := Node}} = Pair =
        gen_rpc_test_pair:restart(proplists:get_value(pair, Config), [], Settings),
    Node = run(Client, fun() -> gen_rpc:call(Node, erlang, node, []) end),
    Pair.

port_to(Client, Node) ->
    run(Client, fun() -> {ok, Port} = gen_rpc_registry:lookup(Node), Port end).

%% What filled it ends bit by bit.
is_free(Client, #{node := Node}) ->
    case run(Client, fun() -> gen_rpc:call(Node, erlang, system_info, [process_count]) end) of
        {badrpc, system_limit} -> false;
        Count -> Count < 500
    end.
