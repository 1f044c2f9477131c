%% SPDX-License-Identifier: Apache-2.0
%% Semantics: one table of cases is run through `rpc', `erpc' and gen_rpc between the same two real
%% nodes, and what comes of them is compared term by term. Where they differ it is on purpose, and
%% in docs/SEMANTICS.md.
-module(gen_rpc_semantics_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, groups/0, init_per_suite/1, end_per_suite/1]).
-export([rpc_endings/1, rpc_limits/1, rpc_absent/1, rpc_later/1, rpc_many/1, rpc_messages/1,
         rpc_surroundings/1, rpc_wrong/1]).
-export([erpc_endings/1, erpc_limits/1, erpc_absent/1, erpc_requests/1, erpc_collections/1,
         erpc_many/1, erpc_casts/1, erpc_surroundings/1, erpc_wrong/1]).
-export([rpc_lost/1, erpc_lost/1, rpc_stopped/1, erpc_stopped/1, rpc_full/1, erpc_full/1,
         rpc_alone/1, erpc_alone/1]).
-export([differences_are_documented/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).

-define(TABLE, gen_rpc_test_semantics).
-define(TARGET, gen_rpc_test_target).
-define(DOWN, 'nobody@127.0.0.1').
-define(UNKNOWN, 'nobody@no-such-host.invalid').

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [{group, table}, differences_are_documented].

groups() ->
    [{table, [], [Section || {Section, _} <- ?TABLE:sections()]}].

init_per_suite(Config) ->
    #{node := Node, port := Port} = Server = gen_rpc_test_node:start([]),
    Ways = #{Node => {tcp, Port}, ?DOWN => {tcp, gen_rpc_test_node:free_port()}},
    Client = gen_rpc_test_node:start([{client_config_per_node, {internal, Ways}}]),
    Env = #{node => Node, down => ?DOWN, unknown => ?UNKNOWN},
    [{client, gen_rpc_test_node:keep(Client)}, {server, gen_rpc_test_node:keep(Server)},
     {env, Env} | Config].

end_per_suite(Config) ->
    ok = gen_rpc_test_node:stop(client(Config)),
    ok = gen_rpc_test_node:stop(server(Config)).

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

rpc_lost(Config) -> lose(?FUNCTION_NAME, Config).

erpc_lost(Config) -> lose(?FUNCTION_NAME, Config).

%% All calls wait on a node when it is killed.
lose(Section, Config) ->
    {Victim, Client} = pair([]),
    ok = run(Victim, fun ?TARGET:start_counter/0),
    #{node := Node} = Victim,
    Env = (env(Config))#{node := Node},
    Task = gen_rpc_test_task:start(
             fun() ->
                     run(Client,
                         fun() -> ?TABLE:mismatches_at_once(Section, modules(Section), Env) end)
             end),
    wait(fun() -> length(run(Victim, fun ?TARGET:counted/0)) >= 2 * ?TABLE:size(Section, Env) end),
    ok = gen_rpc_test_node:kill(Victim),
    ?assertEqual([], gen_rpc_test_task:result(Task)),
    ok = gen_rpc_test_node:stop(Client).

rpc_stopped(Config) -> stop_one(?FUNCTION_NAME, Config).

erpc_stopped(Config) -> stop_one(?FUNCTION_NAME, Config).

%% All calls are made to a node that is stopped, and known by either way.
stop_one(Section, Config) ->
    {#{node := Node} = Victim, Client} = pair([]),
    Env = (env(Config))#{node := Node},
    Frozen = gen_rpc_test_node:freeze(Victim),
    try
        ?assertEqual([], run(Client, fun() ->
                                             ?TABLE:mismatches_at_once(Section, modules(Section),
                                                                       Env)
                                     end))
    after
        gen_rpc_test_node:thaw(Frozen)
    end,
    ok = gen_rpc_test_node:stop(Victim),
    ok = gen_rpc_test_node:stop(Client).

rpc_full(Config) -> fill(?FUNCTION_NAME, Config).

erpc_full(Config) -> fill(?FUNCTION_NAME, Config).

%% All calls are made to a node that has as many processes as it may have.
fill(Section, Config) ->
    {#{node := Node} = Full, Client} = pair([{args, ["+P", "1024"]}]),
    File = gen_rpc_test_full:fill(Config, Client, Full),
    ?assertEqual([], run(Client, fun() ->
                                         ?TABLE:mismatches(Section, modules(Section),
                                                           (env(Config))#{node := Node})
                                 end)),
    ok = gen_rpc_test_full:free(File),
    ok = gen_rpc_test_node:stop(Full),
    ok = gen_rpc_test_node:stop(Client).

%% A node for one test, and another one that has connections of both kinds to it.
pair(Settings) ->
    #{node := Node} = Server = gen_rpc_test_node:start(Settings),
    Client = gen_rpc_test_node:start([gen_rpc_test_node:env([Server])]),
    Node = run(Client, fun() -> gen_rpc:call(Node, erlang, node, []) end),
    Node = run(Client, fun() -> rpc:call(Node, erlang, node, []) end),
    {Server, Client}.

rpc_alone(Config) -> compare(?FUNCTION_NAME, Config).

erpc_alone(Config) -> compare(?FUNCTION_NAME, Config).

compare(Section, Config) ->
    Env = env(Config),
    ?assertEqual([], run(client(Config),
                         fun() -> ?TABLE:mismatches(Section, modules(Section), Env) end)).

modules(Section) ->
    {Section, Modules} = lists:keyfind(Section, 1, ?TABLE:sections()),
    Modules.

%%% The page

%% Every difference of the table has its line in docs/SEMANTICS.md, with its reason, and no other
%% line is there.
differences_are_documented(Config) ->
    Table = ?TABLE:differences(env(Config)),
    Differences = lists:usort([{atom_to_list(Name), Why}
                               || #{difference := Name, why := Why} <- Table]),
    ?assertEqual(Differences, lists:sort(documented())).

documented() ->
    {ok, Page} = file:read_file(filename:join([root_dir(), "docs", "SEMANTICS.md"])),
    {match, Rows} = re:run(Page, "^\\| `([a-z_]+)` \\|.*\\| ([^|]+) \\|$",
                           [global, multiline, {capture, [1, 2], list}]),
    [{Name, Why} || [Name, Why] <- Rows].

%%% Helpers

env(Config) -> proplists:get_value(env, Config).

client(Config) -> proplists:get_value(client, Config).

server(Config) -> proplists:get_value(server, Config).

root_dir() ->
    filename:dirname(filename:dirname(proplists:get_value(source, ?MODULE:module_info(compile)))).
