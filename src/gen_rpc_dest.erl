%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Destinations: a node, or a node and a key that chooses one of several connections to it.
-module(gen_rpc_dest).

-export([node/1, is_own/1, host/1]).

-spec node(gen_rpc:dest()) -> node().
node({Node, _Key}) -> Node;
node(Node) -> Node.

-spec is_own(gen_rpc:dest()) -> boolean().
is_own(Dest) ->
    ?MODULE:node(Dest) =:= erlang:node().

%% The host part of a node name; none in a name without one.
-spec host(node()) -> {ok, string()} | none.
host(Node) ->
    case string:split(atom_to_list(Node), "@") of
        [[_ | _], [_ | _] = Host] -> {ok, Host};
        _ -> none
    end.
