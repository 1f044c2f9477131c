%% SPDX-License-Identifier: Apache-2.0
%% Faults between real nodes, each in a network namespace of its own: what a user sees of each fault
%% by itself. Run by test/run_integration alone.
-module(gen_rpc_integration_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2,
         end_per_testcase/2]).
-export([killed/1]).

-import(gen_rpc_test_site, [run/2, rpc/3, wait/1]).

%% Longer than any test: a call with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(CALLERS, 20).

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [killed].

init_per_suite(Config) ->
    ok = gen_rpc_test_net:create(2),
    Config.

end_per_suite(_Config) ->
    gen_rpc_test_net:destroy(2).

init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, _Config) ->
    ok.

%%% Cases

%% A server is ended by its operating system. Those who wait hear at once that their calls may have
%% run, the next ones that there is no node, and when it is back it is found.
killed(_Config) ->
    [Client, Server] = start_sites(),
    Waiting = waiting_calls(Client, Server),
    ok = gen_rpc_test_site:kill(Server),
    [?assertMatch({badtcp, _}, Result) || Result <- gen_rpc_test_task:results(Waiting)],
    ?assertEqual({badrpc, nodedown}, rpc(Client, Server, ?LONG)),
    Again = gen_rpc_test_site:again(Server),
    recovered(Client, Again),
    stop_sites([Client, Again]).

%%% Helpers

start_sites() ->
    start_sites([], []).

start_sites(ClientOptions, ServerOptions) ->
    Client = gen_rpc_test_site:start(1, ClientOptions),
    Server = gen_rpc_test_site:start(2, ServerOptions),
    ?assertEqual(gen_rpc_test_site:node(Server), rpc(Client, Server, ?LONG)),
    [Client, Server].

stop_sites(Sites) ->
    Left = lists:append([gen_rpc_test_site:left(Site) || Site <- Sites]),
    lists:foreach(fun gen_rpc_test_site:stop/1, Sites),
    ?assertEqual([], Left).

%% Calls that never end by themselves, all of them at work on the server.
waiting_calls(Client, Server) ->
    Node = gen_rpc_test_site:node(Server),
    Served = served(Server),
    Tasks = gen_rpc_test_task:start(
              ?CALLERS, fun(_) -> run(Client, fun() ->
                                                      gen_rpc:call(Node, timer, sleep, [infinity],
                                                                   ?LONG)
                                              end)
                        end),
    wait(fun() -> served(Server) =:= Served + ?CALLERS end),
    Tasks.

served(#{at := At}) ->
    lists:sum([Served || #{served := Served} <- gen_rpc_test_node:acceptors(At)]).

recovered(Client, Server) ->
    wait(fun() -> rpc(Client, Server, 5000) =:= gen_rpc_test_site:node(Server) end).
