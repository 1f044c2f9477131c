%% SPDX-License-Identifier: Apache-2.0
%% A source of ways to nodes that says what a test wants it to, and remembers which nodes it was
%% asked for.
-module(gen_rpc_test_source).

-behaviour(gen_rpc_external_source).

-export([says/3, asked/1, source/0]).
-export([get_config/1, elsewhere/1, set/2]).

%% The setting that makes it the source.
-spec source() -> {atom(), term()}.
source() ->
    {client_config_per_node, {external, ?MODULE}}.

%% From now on what it says of a node is the result of a fun, which runs there. Forgets what it was
%% asked.
-spec says(gen_rpc_test_node:t(), node(), fun(() -> term())) -> ok.
says(T, Node, Fun) ->
    gen_rpc_test_node:call(T, ?MODULE, set, [Node, Fun]).

-spec set(node(), fun(() -> term())) -> ok.
set(Node, Fun) ->
    ok = gen_rpc_test_target:start_counter(),
    persistent_term:put({?MODULE, Node}, Fun).

-spec asked(gen_rpc_test_node:t()) -> [node()].
asked(T) ->
    gen_rpc_test_node:call(T, gen_rpc_test_target, counted, []).

-spec get_config(node()) -> term().
get_config(Node) ->
    ok = gen_rpc_test_target:count(Node),
    (persistent_term:get({?MODULE, Node}))().

%% The same for a setting {Module, Function}.
-spec elsewhere(node()) -> term().
elsewhere(Node) ->
    get_config(Node).
