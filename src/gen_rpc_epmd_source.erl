%% SPDX-License-Identifier: Apache-2.0
%% @doc Source of ways to nodes: the port that a node with the setting `register_with_epmd' has
%% entered into the epmd of its host. Use: `{client_config_per_node, {external,
%% gen_rpc_epmd_source}}'.
-module(gen_rpc_epmd_source).

-behaviour(gen_rpc_external_source).

-export([get_config/1]).

-spec get_config(node()) -> gen_rpc_external_source:answer().
get_config(Node) ->
    Driver = gen_rpc_config:get(default_client_driver),
    case gen_rpc_source_cache:fetch(?MODULE, Node, fun() -> find_out(Driver, Node) end) of
        {ok, Port} -> {Driver, Port};
        {error, Reason} -> {error, {epmd, Reason}}
    end.

find_out(Driver, Node) ->
    case {gen_rpc_epmd:name(Driver, Node), gen_rpc_dest:host(Node)} of
        {{ok, Name}, {ok, Host}} ->
            case gen_rpc_epmd:look_up(Name, Host, gen_rpc_config:get(connect_timeout)) of
                {ok, Port} -> {ok, Port, gen_rpc_config:get(source_cache_ttl)};
                Error -> Error
            end;
        _ ->
            {error, invalid_node_name}
    end.
