%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Destinations: a node, or a node and a key that chooses one of several connections to it.
-module(gen_rpc_dest).

-export([node/1, is_own/1, host/1, parts/1]).

-spec node(gen_rpc:dest()) -> node().
node({Node, _Key}) -> Node;
node(Node) -> Node.

-spec is_own(gen_rpc:dest()) -> boolean().
is_own(Dest) ->
    ?MODULE:node(Dest) =:= erlang:node().

%% The host part of a node name; none in a name without one.
-spec host(node()) -> {ok, string()} | none.
host(Node) ->
    case parts(Node) of
        {_Name, Host} -> {ok, Host};
        none -> none
    end.

%% Both parts of a node name.
-spec parts(node()) -> {Name :: string(), Host :: string()} | none.
parts(Node) ->
    case string:split(atom_to_list(Node), "@") of
        [[_ | _] = Name, [_ | _] = Host] -> {Name, Host};
        _ -> none
    end.
