%% SPDX-License-Identifier: Apache-2.0
%% @doc RPC between BEAM nodes that stays off the distribution channel.
%%
%% The functions have the names, arguments and results of OTP's `rpc'. A destination is a node, or
%% `{Node, Key}' with any term as the key: each of these has a connection of its own, made when it
%% is first used. Time limits are in milliseconds.
-module(gen_rpc).

-export([call/3, call/4, call/5, call/6]).
-export([cast/3, cast/4, cast/5]).
-export([ordered_cast/4]).
-export([abcast/2, abcast/3, sbcast/2, sbcast/3]).
-export([nodes/0]).

-type dest() :: node() | {node(), Key :: term()}.
%% A node, or one of several connections to it.

-type call_error() :: {badrpc, nodedown}          % not reachable: nothing was sent
                    | {badrpc, timeout}           % no result within the time limit
                    | {badrpc, invalid_cookie}
                    | {badrpc, {external_source_error, term()}} % nobody said where the node is
                    | {badrpc, system_limit}      % the other node has no process for it
                    | {badrpc, {'EXIT', term()}}  % how the function failed
                    | {badrpc, {message_too_big, Size :: pos_integer(), Limit :: pos_integer()}}
                    | {badtcp, term()}.           % lost after sending: it may have run
-export_type([dest/0, call_error/0]).

-define(IS_TIMEOUT(T), (T =:= infinity orelse (is_integer(T) andalso T >= 0
                                               andalso T =< 16#FFFFFFFE))).

%% @equiv call(Dest, Module, Function, [])
-spec call(dest(), module(), atom()) -> term() | call_error().
call(Dest, Module, Function) ->
    call(Dest, Module, Function, []).

%% @doc Calls a function on another node, with the time limits of the settings
%% `call_receive_timeout' and `send_timeout'.
%% @see call/6
-spec call(dest(), module(), atom(), [term()]) -> term() | call_error().
call(Dest, Module, Function, Args) ->
    call(Dest, Module, Function, Args, gen_rpc_config:get(call_receive_timeout)).

%% @equiv call(Dest, Module, Function, Args, ReceiveTimeout, SendTimeout)
-spec call(dest(), module(), atom(), [term()], timeout()) -> term() | call_error().
call(Dest, Module, Function, Args, ReceiveTimeout) ->
    call(Dest, Module, Function, Args, ReceiveTimeout, gen_rpc_config:get(send_timeout)).

%% @doc Calls a function on another node and waits for its result.
%%
%% Returns what the function returns or throws, or what {@link call_error()} lists. ReceiveTimeout
%% is the limit for everything, connecting included; SendTimeout that for waiting until an
%% overloaded connection takes the request (`{badtcp, send_timeout}'). When the caller's time is
%% up, or it dies, the other node is told: it does not start the function if it has not yet. One
%% that runs goes on, unless the setting `kill_on_cancel' there says otherwise. Arguments of a wrong
%% type raise `badarg'.
-spec call(dest(), module(), atom(), [term()], timeout(), timeout()) -> term() | call_error().
call(Dest, Module, Function, Args, ReceiveTimeout, SendTimeout)
  when is_atom(Module), is_atom(Function), is_list(Args),
       ?IS_TIMEOUT(ReceiveTimeout), ?IS_TIMEOUT(SendTimeout) ->
    ok = check(Dest),
    gen_rpc_request:call(Dest, Module, Function, Args, ReceiveTimeout, SendTimeout);
call(_Dest, _Module, _Function, _Args, _ReceiveTimeout, _SendTimeout) ->
    error(badarg).

%% @equiv cast(Dest, Module, Function, [])
-spec cast(dest(), module(), atom()) -> true.
cast(Dest, Module, Function) ->
    cast(Dest, Module, Function, []).

%% @equiv cast(Dest, Module, Function, Args, SendTimeout)
-spec cast(dest(), module(), atom(), [term()]) -> true.
cast(Dest, Module, Function, Args) ->
    cast(Dest, Module, Function, Args, gen_rpc_config:get(send_timeout)).

%% @doc Runs a function on another node and does not wait for it. Always `true': a cast that can't
%% be sent within SendTimeout, connecting included, is dropped and logged, as is the failure of the
%% function on the other side.
%%
%% If the connection is overloaded, the setting `cast_overload_policy' says what happens: `block'
%% waits for room within SendTimeout, `drop' drops the cast at once, `error' raises the error
%% `overload' at once. Arguments of a wrong type raise `badarg'.
-spec cast(dest(), module(), atom(), [term()], timeout()) -> true.
cast(Dest, Module, Function, Args, SendTimeout)
  when is_atom(Module), is_atom(Function), is_list(Args), ?IS_TIMEOUT(SendTimeout) ->
    ok = check(Dest),
    gen_rpc_request:cast(Dest, Module, Function, Args, SendTimeout);
cast(_Dest, _Module, _Function, _Args, _SendTimeout) ->
    error(badarg).

%% @doc As {@link cast/4}, but what one process casts in this way on one destination runs there in
%% the same order, one after the other: each when the one before it has ended, however it ended.
%% Calls and other casts do not wait for them. The order holds as long as the connection does.
-spec ordered_cast(dest(), module(), atom(), [term()]) -> true.
ordered_cast(Dest, Module, Function, Args)
  when is_atom(Module), is_atom(Function), is_list(Args) ->
    ok = check(Dest),
    gen_rpc_request:ordered_cast(Dest, Module, Function, Args, gen_rpc_config:get(send_timeout));
ordered_cast(_Dest, _Module, _Function, _Args) ->
    error(badarg).

%% @doc Sends a message to the process that is registered under a name, on this node and on those of
%% {@link nodes/0}.
%% @see abcast/3
-spec abcast(atom(), term()) -> abcast.
abcast(Name, Message) ->
    abcast([node() | ?MODULE:nodes()], Name, Message).

%% @doc Sends a message to the process that is registered under a name, on each of these nodes.
%% Where there is none nothing happens.
%%
%% What one process sends to a name on one destination arrives in the same order. The setting
%% `send_timeout' limits the time for all of them; a connection that can't be made in time, or is
%% overloaded, does not delay the message to the others, and counts as one of {@link cast/5}. With
%% the policy `error' the error `overload' is raised when all others have been served. Arguments of
%% a wrong type raise `badarg'.
-spec abcast([dest()], atom(), term()) -> abcast.
abcast(Dests, Name, Message) when is_atom(Name) ->
    ok = check_all(Dests),
    gen_rpc_broadcast:abcast(Dests, Name, Message, gen_rpc_config:get(send_timeout));
abcast(_Dests, _Name, _Message) ->
    error(badarg).

%% @doc As {@link sbcast/3}, on this node and on those of {@link nodes/0}.
-spec sbcast(atom(), term()) -> {Good :: [dest()], Bad :: [dest()]}.
sbcast(Name, Message) ->
    sbcast([node() | ?MODULE:nodes()], Name, Message).

%% @doc As {@link abcast/3}, but waits until the message is delivered. Good are those where a
%% process is registered under the name; Bad those where none is, that can't be reached, or that
%% have not answered within the setting `sbcast_receive_timeout', which is one limit for all. Both
%% are in the order given. A message to one that is Bad for its lateness may still arrive.
-spec sbcast([dest()], atom(), term()) -> {Good :: [dest()], Bad :: [dest()]}.
sbcast(Dests, Name, Message) when is_atom(Name) ->
    ok = check_all(Dests),
    gen_rpc_broadcast:sbcast(Dests, Name, Message, gen_rpc_config:get(sbcast_receive_timeout));
sbcast(_Dests, _Name, _Message) ->
    error(badarg).

%% @doc The nodes that this one has an authenticated outgoing connection to, sorted.
-spec nodes() -> [node()].
nodes() ->
    gen_rpc_registry:nodes().

check_all([Dest | Rest]) ->
    ok = check(Dest),
    check_all(Rest);
check_all([]) ->
    ok;
check_all(_) ->
    error(badarg).

check(Node) when is_atom(Node) -> ok;
check({Node, _Key}) when is_atom(Node) -> ok;
check(_) -> error(badarg).
