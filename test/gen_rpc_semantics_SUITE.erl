%% SPDX-License-Identifier: Apache-2.0
%% Semantics: one table of cases is run through `rpc', `erpc' and gen_rpc between the same two real
%% nodes, and what comes of them is compared term by term. Where they differ it is on purpose, and
%% in docs/SEMANTICS.md.
-module(gen_rpc_semantics_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, groups/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2,
         end_per_testcase/2]).
-export([rpc_endings/1, rpc_limits/1, rpc_absent/1, rpc_later/1, rpc_many/1, rpc_messages/1,
         rpc_surroundings/1, rpc_wrong/1]).
-export([erpc_endings/1, erpc_limits/1, erpc_absent/1, erpc_requests/1, erpc_collections/1,
         erpc_many/1, erpc_casts/1, erpc_surroundings/1, erpc_wrong/1]).

-import(gen_rpc_test_node, [run/2]).

-define(TABLE, gen_rpc_test_semantics).
-define(DOWN, 'nobody@127.0.0.1').
-define(UNKNOWN, 'nobody@no-such-host.invalid').

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [{group, table}].

groups() ->
    [{table, [], [Section || {Section, _} <- ?TABLE:sections()]}].

init_per_suite(Config) ->
    #{node := Node, port := Port} = Server = gen_rpc_test_node:start([]),
    Ways = #{Node => {tcp, Port}, ?DOWN => {tcp, gen_rpc_test_node:free_port()}},
    Client = gen_rpc_test_node:start([{client_config_per_node, {internal, Ways}}]),
    [ok = gen_rpc_test_events:install(T) || T <- [Client, Server]],
    Env = #{node => Node, down => ?DOWN, unknown => ?UNKNOWN},
    [{client, gen_rpc_test_node:keep(Client)}, {server, gen_rpc_test_node:keep(Server)},
     {env, Env} | Config].

end_per_suite(Config) ->
    ok = gen_rpc_test_node:stop(client(Config)),
    ok = gen_rpc_test_node:stop(server(Config)).

init_per_testcase(_Case, Config) -> Config.

end_per_testcase(_Case, _Config) -> ok.

%%% The table

rpc_endings(Config) -> compare(?FUNCTION_NAME, Config).

rpc_limits(Config) -> compare(?FUNCTION_NAME, Config).

rpc_absent(Config) -> compare(?FUNCTION_NAME, Config).

rpc_later(Config) -> compare(?FUNCTION_NAME, Config).

rpc_many(Config) -> compare(?FUNCTION_NAME, Config).

rpc_messages(Config) -> compare(?FUNCTION_NAME, Config).

rpc_surroundings(Config) -> compare(?FUNCTION_NAME, Config).

rpc_wrong(Config) -> compare(?FUNCTION_NAME, Config).

erpc_endings(Config) -> compare(?FUNCTION_NAME, Config).

erpc_limits(Config) -> compare(?FUNCTION_NAME, Config).

erpc_absent(Config) -> compare(?FUNCTION_NAME, Config).

erpc_requests(Config) -> compare(?FUNCTION_NAME, Config).

erpc_collections(Config) -> compare(?FUNCTION_NAME, Config).

erpc_many(Config) -> compare(?FUNCTION_NAME, Config).

erpc_casts(Config) -> compare(?FUNCTION_NAME, Config).

erpc_surroundings(Config) -> compare(?FUNCTION_NAME, Config).

erpc_wrong(Config) -> compare(?FUNCTION_NAME, Config).

compare(Section, Config) ->
    {Section, Modules} = lists:keyfind(Section, 1, ?TABLE:sections()),
    Env = proplists:get_value(env, Config),
    ?assertEqual([], run(client(Config), fun() -> ?TABLE:mismatches(Section, Modules, Env) end)).

%%% Helpers

client(Config) -> proplists:get_value(client, Config).

server(Config) -> proplists:get_value(server, Config).
