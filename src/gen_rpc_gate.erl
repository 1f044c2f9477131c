%% SPDX-License-Identifier: Apache-2.0
%% Gate: what comes in, over a connection or from the own node, and may run here. The name is looked
%% at before anything else of a request is decoded.
-module(gen_rpc_gate).

-export([open/1, check/3, open_broadcast/1, may_deliver/1]).

-type refused() :: {refused, unauthorized | incompatible | invalid_request}.
-type passed() :: {run, module(), atom(), maybe_improper_list()} | refused().

%% A request as it came over a connection.
-spec open(binary()) -> passed().
open(Request) ->
    case gen_rpc_config:policy() of
        disabled ->
            case gen_rpc_codec:decode(Request, []) of
                {M, F, A} when is_atom(M) -> {run, M, F, A};
                {{M, Version}, F, A} -> check_version(M, Version, F, A);
                invalid -> {refused, invalid_request}
            end;
        Policy ->
            case gen_rpc_codec:name(Request) of
                {ok, Name} -> open(Name, Request, Policy);
                invalid -> {refused, invalid_request}
            end
    end.

open(Name, Request, Policy) ->
    case gen_rpc_policy:is_allowed(Policy, Name) of
        true ->
            case gen_rpc_codec:decode(Request, gen_rpc_policy:decode_options(Policy)) of
                {M, F, A} -> check(Policy, M, F, A);
                invalid -> {refused, invalid_request}
            end;
        false ->
            unauthorized(#{module => Name})
    end.

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
