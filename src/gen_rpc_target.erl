%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% How to reach a node: what the settings say of it, or whom they say to ask, and what an answer
%% means.
-module(gen_rpc_target).

-export([find/1, answered/2]).

-type target() :: {gen_rpc_config:driver(), gen_rpc_external_source:host(), inet:port_number()}.
-type source() :: {module(), Function :: atom()}.
-export_type([target/0, source/0]).

-type reason() :: no_host_in_node_name | port_over_65535 | {external_source_error, term()}.

%% As long as a name in the DNS can be.
-define(HOST_MAX, 255).

%% Targets are tried in order.
-spec find(node()) -> {ok, [target()]} | {ask, source()} | {error, reason()}.
find(Node) ->
    case gen_rpc_config:get(client_config_per_node) of
        {internal, _PerNode} -> at_node(Node, gen_rpc_config:target(Node));
        {external, Module} -> {ask, {Module, get_config}};
        {Module, Function} -> {ask, {Module, Function}}
    end.

%% What a source has said of a node.
-spec answered(node(), term()) -> {ok, [target()]} | {error, reason()}.
answered(_Node, {error, Reason}) ->
    failed(Reason);
answered(Node, Answer) ->
    case targets(Node, Answer) of
        {ok, Targets} -> possible(Targets);
        invalid -> failed({bad_config, Answer});
        Error -> Error
    end.

targets(_Node, {_, _, _} = Target) ->
    all_targets([Target]);
targets(_Node, [_ | _] = Targets) ->
    all_targets(Targets);
targets(Node, Way) ->
    case gen_rpc_config:is_way(Way) of
        true -> at_node(Node, gen_rpc_config:target(Node, Way));
        false -> invalid
    end.

all_targets(Targets) ->
    case is_list_of_targets(Targets) of
        true -> {ok, Targets};
        false -> invalid
    end.

is_list_of_targets([{_, Host, _} = Target | Rest]) ->
    gen_rpc_config:is_way(erlang:delete_element(2, Target)) andalso is_host(Host) andalso
        is_list_of_targets(Rest);
is_list_of_targets(Rest) ->
    Rest =:= [].

is_host(Host) when is_tuple(Host) -> inet:is_ip_address(Host);
is_host([_ | _] = Host) -> is_name(Host, ?HOST_MAX);
is_host(_) -> false.

is_name([C | Rest], Left) when is_integer(C), C > $\s, C < 127, Left > 0 -> is_name(Rest, Left - 1);
is_name(Rest, _Left) -> Rest =:= [].

%% At start nobody could know that a source would say ssl.
possible(Targets) ->
    case lists:keymember(ssl, 1, Targets) andalso not gen_rpc_tls:is_loaded(client) of
        true -> failed({missing_setting, ssl_client_options});
        false -> {ok, Targets}
    end.

at_node(_Node, {error, _} = Error) ->
    Error;
at_node(Node, {Driver, Port}) ->
    case gen_rpc_dest:host(Node) of
        {ok, Host} -> {ok, [{Driver, Host, Port}]};
        none -> {error, no_host_in_node_name}
    end.

failed(Reason) ->
    {error, {external_source_error, Reason}}.
