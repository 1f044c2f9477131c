%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Arguments of the public functions: what each must be, and, for whoever gets the error `badarg',
%% which one is not and why. Pure.
-module(gen_rpc_badarg).

-export([why/1, is/2, format_error/2]).

-type kind() :: dest | dests | module | function | args | timeout | limit | name | key | 'fun'
              | erpc_timeout | erpc_module | request | collection | boolean | any
              | outstanding | new_request | entries. % these three are never right
-export_type([kind/0]).

-define(MAX_TIMEOUT, 16#FFFFFFFF). % as long as a receive can wait

%% The options of erlang:error/3 that make a shell say, beside `badarg', which of these arguments, in
%% the order of the function's, is wrong, what it is, and what is allowed. No value is kept.
-spec why([{kind(), term()}]) -> [{error_info, map()}].
why(Arguments) ->
    Wrong = [{N, Kind} || {N, {Kind, Value}} <- lists:zip(lists:seq(1, length(Arguments)),
                                                          Arguments),
                          not is(Kind, Value)],
    [{error_info, #{module => ?MODULE, cause => maps:from_list(Wrong)}}].

%% Whether an argument is as it must be.
-spec is(kind(), term()) -> boolean().
is(dest, {Node, _Key}) -> is_atom(Node);
is(dest, Node) -> is_atom(Node);
is(dests, [Dest | Rest]) -> is(dest, Dest) andalso is(dests, Rest);
is(dests, Dests) -> Dests =:= [];
is(module, {Module, _Version}) -> is_atom(Module);
is(module, Module) -> is_atom(Module);
is(erpc_module, Module) -> is_atom(Module);
is(function, Function) -> is_atom(Function);
is(args, Args) -> is_list(Args);
is(limit, undefined) -> true;
is(limit, Limit) -> is(timeout, Limit);
is(timeout, infinity) -> true;
is(timeout, Time) -> is_integer(Time) andalso Time >= 0 andalso Time =< ?MAX_TIMEOUT;
is(erpc_timeout, infinity) -> true;
is(erpc_timeout, {abs, Time}) ->
    is_integer(Time) andalso Time - erlang:monotonic_time(millisecond) =< ?MAX_TIMEOUT;
is(erpc_timeout, Time) -> is_integer(Time) andalso Time >= 0 andalso Time =< ?MAX_TIMEOUT;
is(name, Name) -> is_atom(Name);
is(key, {Holder, Ref}) -> is_pid(Holder) andalso node(Holder) =:= node() andalso is_reference(Ref);
is('fun', Fun) -> is_function(Fun, 0);
is(boolean, Value) -> is_boolean(Value);
is(request, [Tag | {Owner, _Pending}]) -> is_reference(Tag) andalso is_pid(Owner);
is(collection, Collection) -> is_map(Collection);
is(any, _) -> true;
is(_Kind, _Value) -> false.

%% As EEP 54 wants it; called by whoever shows an error.
-spec format_error(badarg | {erpc, badarg}, [tuple()]) -> #{pos_integer() => string()}.
format_error(_Reason, [{_M, _F, _A, Info} | _]) ->
    #{cause := Wrong} = proplists:get_value(error_info, Info),
    maps:map(fun(_N, Kind) -> "must be " ++ allowed(Kind) end, Wrong).

allowed(dest) -> "a node (an atom) or {Node, Key}";
allowed(dests) -> "a proper list of nodes, each an atom or {Node, Key}";
allowed(module) -> "a module (an atom) or {Module, Version}";
allowed(erpc_module) -> "a module (an atom)";
allowed(function) -> "the name of a function, an atom";
allowed(args) -> "a list of arguments";
allowed(limit) -> "a time in ms (0..4294967295), infinity or undefined";
allowed(timeout) -> "a time in ms (0..4294967295) or infinity";
allowed(erpc_timeout) -> "a time in ms (0..4294967295), infinity, or {abs, MonotonicMs}";
allowed(name) -> "the name of a process, an atom";
allowed(key) -> "a key of async_call on this node";
allowed('fun') -> "a function without arguments";
allowed(boolean) -> "true or false";
allowed(request) -> "a request id of send_request";
allowed(outstanding) -> "a request whose response has not been taken";
allowed(new_request) -> "a request that is not in the collection";
allowed(entries) -> "a collection of request ids, as reqids_new and reqids_add make it";
allowed(collection) -> "a collection of request ids".
