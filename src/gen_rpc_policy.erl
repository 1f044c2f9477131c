%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Module control: which modules requests may name, and which processes messages may be sent to.
%% Names are compared as bytes, so that nothing of a request becomes an atom before it is allowed.
%% Pure.
-module(gen_rpc_policy).

-export([new/2, is_allowed/2, may_deliver/2, may_load/2, decode_options/1, are_funs_allowed/2]).

-type t() :: disabled | {whitelist | blacklist, #{binary() => []}}.
-export_type([t/0]).

%% Who may call erlang may send to anybody.
-define(SENDER, <<"erlang">>).

-spec new(disabled | whitelist | blacklist, [atom()]) -> t().
new(disabled, _Modules) -> disabled;
new(Control, Modules) -> {Control, maps:from_list([{atom_to_binary(M), []} || M <- Modules])}.

%% Whether a function of this module may be called.
-spec is_allowed(t(), module() | binary()) -> boolean().
is_allowed(disabled, _Module) -> true;
is_allowed(Policy, Module) when is_atom(Module) -> is_allowed(Policy, atom_to_binary(Module));
is_allowed({whitelist, Names}, Module) -> is_map_key(Module, Names);
is_allowed({blacklist, Names}, Module) -> not is_map_key(Module, Names).

%% Whether a message may be sent to the process of this name: it must be listed like a module, or
%% erlang, whose functions can send.
-spec may_deliver(t(), atom() | binary()) -> boolean().
may_deliver({whitelist, _} = Policy, Name) ->
    is_allowed(Policy, Name) orelse is_allowed(Policy, ?SENDER);
may_deliver(Policy, Name) ->
    is_allowed(Policy, Name) andalso is_allowed(Policy, ?SENDER).

%% Whether the code of this module may come from another node.
-spec may_load(t(), binary()) -> boolean().
may_load({whitelist, _}, _Module) -> false;
may_load(Policy, Module) -> is_allowed(Policy, Module).

%% How the rest of a request is decoded: in whitelist mode without a new atom.
-spec decode_options(t()) -> [safe].
decode_options({whitelist, _}) -> [safe];
decode_options(_) -> [].

%% A function among the arguments is as good as a call of its module.
-spec are_funs_allowed(t(), term()) -> boolean().
are_funs_allowed(disabled, _Args) ->
    true;
are_funs_allowed(Policy, Args) ->
    gen_rpc_terms:fold_funs(fun(Fun, Allowed) ->
                                    {module, Module} = erlang:fun_info(Fun, module),
                                    Allowed andalso is_allowed(Policy, Module)
                            end, true, Args).
