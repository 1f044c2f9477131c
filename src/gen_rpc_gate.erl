%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Gate: what comes in, over a connection or from the own node, and may run here. The name is looked
%% at before anything else of a request is decoded.
-module(gen_rpc_gate).

-export([start/0, stop/0, admit/1]).
-export([open/1, check/3, open_broadcast/1, may_deliver/1]).

-type refused() :: {refused, unauthorized | incompatible | invalid_request}.
-type passed() :: {run, module(), atom(), maybe_improper_list()} | refused().

%% Names of other nodes that become atoms here, while the application runs: more than a cluster has
%% nodes, and few beside the atoms of a VM. A node with the cookie could use a new name for each
%% connection.
-define(PEERS_MAX, 1000).

-spec start() -> ok.
start() ->
    persistent_term:put(?MODULE, counters:new(1, [])).

-spec stop() -> ok.
stop() ->
    _ = persistent_term:erase(?MODULE),
    ok.

%% An authenticated node of this name sends requests. In whitelist mode they can have no new atom in
%% them, but its name is in its pids, references and functions; else it needs not be one.
-spec admit(binary()) -> ok.
admit(Node) ->
    case gen_rpc_policy:decode_options(gen_rpc_config:policy()) of
        [safe] -> know_node(Node);
        [] -> ok
    end.

know_node(Node) ->
    try binary_to_existing_atom(Node) of
        _ -> ok
    catch
        error:badarg -> make_atom(Node, persistent_term:get(?MODULE))
    end.

make_atom(Node, Count) ->
    ok = counters:add(Count, 1, 1),
    try counters:get(Count, 1) =< ?PEERS_MAX andalso binary_to_atom(Node) of
        _ -> ok
    catch
        error:_ -> ok % no name of an Erlang node
    end.

%% A request as it came over a connection.
-spec open(binary()) -> passed().
open(Request) ->
    case gen_rpc_config:policy() of
        disabled ->
            decode(Request, [], disabled);
        Policy ->
            case gen_rpc_codec:name(Request) of
                {ok, Name} -> open(Name, Request, Policy);
                invalid -> {refused, invalid_request}
            end
    end.

open(Name, Request, Policy) ->
    case gen_rpc_policy:is_allowed(Policy, Name) of
        true ->
            Options = gen_rpc_policy:decode_options(Policy),
            ok = know_atoms(Name, Options),
            decode(Request, Options, Policy);
        false ->
            unauthorized(#{module => Name})
    end.

decode(Request, Options, Policy) ->
    case gen_rpc_codec:decode(Request, Options) of
        {M, F, A} -> check(Policy, M, F, A);
        invalid -> {refused, invalid_request}
    end.

%% The atoms of a module are known once it is loaded. Its own name is, as it is in the whitelist.
know_atoms(Name, [safe]) ->
    Module = binary_to_existing_atom(Name),
    _ = erlang:module_loaded(Module) orelse code:ensure_loaded(Module),
    ok;
know_atoms(_Name, []) ->
    ok.

%% A request of the own node.
-spec check(module() | {module(), term()}, atom(), [term()]) -> passed().
check(M, F, A) ->
    check(gen_rpc_config:policy(), M, F, A).

check(Policy, M, F, A) ->
    Module = case M of {Name, _Version} -> Name; _ -> M end,
    case gen_rpc_policy:is_allowed(Policy, Module)
        andalso gen_rpc_policy:are_funs_allowed(Policy, A) of
        true when is_atom(M) -> {run, M, F, A};
        true -> check_version(Module, element(2, M), F, A);
        false -> unauthorized(#{module => Module})
    end.

%% The version as the module has it in its attribute vsn.
check_version(Module, Version, F, A) ->
    case is_version(Module, Version) of
        true -> {run, Module, F, A};
        false -> {refused, incompatible}
    end.

is_version(Module, Version) ->
    try lists:keyfind(vsn, 1, Module:module_info(attributes)) of
        {vsn, [Version]} -> true;
        {vsn, Version} -> true;
        _ -> false
    catch
        error:undef -> false
    end.

%% A broadcast as it came over a connection.
-spec open_broadcast(binary()) -> {deliver, Name :: atom(), term()} | refused().
open_broadcast(Body) ->
    Policy = gen_rpc_config:policy(),
    case gen_rpc_codec:name(Body) of
        {ok, Name} ->
            case gen_rpc_policy:may_deliver(Policy, Name) of
                true -> decode_broadcast(Body, Policy);
                false -> unauthorized(#{name => Name})
            end;
        invalid ->
            {refused, invalid_request}
    end.

decode_broadcast(Body, Policy) ->
    case gen_rpc_codec:decode_broadcast(Body, gen_rpc_policy:decode_options(Policy)) of
        invalid -> {refused, invalid_request};
        {Name, Message} -> {deliver, Name, Message}
    end.

%% Whether the own node may send to the process of this name by a broadcast.
-spec may_deliver(atom()) -> boolean().
may_deliver(Name) ->
    case gen_rpc_policy:may_deliver(gen_rpc_config:policy(), Name) of
        true ->
            true;
        false ->
            {refused, _} = unauthorized(#{name => Name}),
            false
    end.

unauthorized(Whom) ->
    ok = gen_rpc_log:message(Whom#{what => "request refused", reason => unauthorized}),
    {refused, unauthorized}.
