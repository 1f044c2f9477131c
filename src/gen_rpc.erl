%% SPDX-License-Identifier: Apache-2.0
%% @doc RPC between BEAM nodes that stays off the distribution channel.
%%
%% The functions have the names, arguments and results of OTP's `rpc'. A destination is a node, or
%% `{Node, Key}' with any term as the key: each of these has a connection of its own, made when it
%% is first used. In the place of a module can stand `{Module, Version}': then the function runs
%% only where the module's attribute `vsn' is that version. Time limits are in milliseconds;
%% `undefined' stands for what the setting says. Arguments of a wrong type raise `badarg', and
%% nothing else happens.
-module(gen_rpc).

-export([call/2, call/3, call/4, call/5, call/6]).
-export([cast/3, cast/4, cast/5, safe_cast/3, safe_cast/4, safe_cast/5]).
-export([ordered_cast/4]).
-export([async_call/3, async_call/4, yield/1, nb_yield/1, nb_yield/2]).
-export([multicall/3, multicall/4, multicall/5]).
-export([eval_everywhere/3, eval_everywhere/4, eval_everywhere/5]).
-export([abcast/2, abcast/3, sbcast/2, sbcast/3]).
-export([nodes/0, reconfigure/0]).

-type dest() :: node() | {node(), Key :: term()}.
%% A node, or one of several connections to it.

-type versioned() :: module() | {module(), Version :: term()}.
%% A module, or a module whose attribute `vsn' must be that version.

-type call_error() :: {badrpc, nodedown}          % not reachable: nothing was sent
                    | {badrpc, timeout}           % no result within the time limit
                    | {badrpc, invalid_cookie}
                    | {badrpc, unauthorized}      % the other node's rpc_module_control
                    | {badrpc, incompatible}      % another version of the module, or none
                    | {badrpc, invalid_request}   % in whitelist mode: an atom that is new there
                    | {badrpc, {external_source_error, term()}} % nobody said where the node is
                    | {badrpc, system_limit}      % the other node has no process for it
                    | {badrpc, {'EXIT', term()}}  % how the function failed
                    | {badrpc, {message_too_big, Size :: pos_integer(), Limit :: pos_integer()}}
                    | {badtcp, term()}.           % lost after sending: it may have run

-type limit() :: timeout() | undefined.
%% Milliseconds, `infinity', or `undefined' for what the setting says.

-type key() :: gen_rpc_async:key().
%% What {@link yield/1} takes. Good for this node only.
-export_type([dest/0, versioned/0, call_error/0, limit/0, key/0]).

%% What gen_rpc_badarg has in words, as guards. A time is as long as a receive can wait.
-define(IS_PAIR(T), (tuple_size(T) =:= 2 andalso is_atom(element(1, T)))).
-define(IS_CALL(M, F, A), ((is_atom(M) orelse ?IS_PAIR(M)) andalso is_atom(F) andalso is_list(A))).
-define(IS_CALL(Dest, M, F, A), ((is_atom(Dest) orelse ?IS_PAIR(Dest)) andalso ?IS_CALL(M, F, A))).
-define(IS_TIMEOUT(T), (T =:= infinity orelse (is_integer(T) andalso T >= 0
                                               andalso T =< 16#FFFFFFFF))).
-define(IS_LIMIT(T), (T =:= undefined orelse ?IS_TIMEOUT(T))).

-define(BADARG(Arguments), error(badarg, none, gen_rpc_badarg:why(Arguments))).

%%% Calls

%% @doc Calls a function object without arguments on another node.
%% @see call/3
-spec call(dest(), fun(() -> term())) -> term() | call_error().
call(Dest, Fun) when is_function(Fun, 0) ->
    call(Dest, erlang, apply, [Fun, []]);
call(Dest, Fun) ->
    ?BADARG([{dest, Dest}, {'fun', Fun}]).

%% @doc With a module and a function: {@link call/4} without arguments. With a function object and a
%% time limit: calls that function on the other node.
%%
%% The object names the module that it was made in, and what it does is there. So the other node
%% must have the same version of that module, unless `fun_code_shipping' is on at both ends.
-spec call(dest(), versioned(), atom()) -> term() | call_error();
          (dest(), fun(() -> term()), limit()) -> term() | call_error().
call(Dest, Fun, Timeout) when is_function(Fun, 0), ?IS_LIMIT(Timeout) ->
    call(Dest, erlang, apply, [Fun, []], Timeout);
call(Dest, Fun, Timeout) when is_function(Fun) ->
    ?BADARG([{dest, Dest}, {'fun', Fun}, {limit, Timeout}]);
call(Dest, Module, Function) ->
    call(Dest, Module, Function, []).

%% @doc Calls a function on another node, with the time limits of the settings
%% `call_receive_timeout' and `send_timeout'.
%% @see call/6
-spec call(dest(), versioned(), atom(), [term()]) -> term() | call_error().
call(Dest, Module, Function, Args) ->
    call(Dest, Module, Function, Args, undefined).

%% @equiv call(Dest, Module, Function, Args, ReceiveTimeout, undefined)
-spec call(dest(), versioned(), atom(), [term()], limit()) -> term() | call_error().
call(Dest, Module, Function, Args, ReceiveTimeout) ->
    call(Dest, Module, Function, Args, ReceiveTimeout, undefined).

%% @doc Calls a function on another node and waits for its result.
%%
%% Returns what the function returns or throws, or what {@link call_error()} lists. ReceiveTimeout
%% is the limit for everything, connecting included; SendTimeout that for waiting until an
%% overloaded connection takes the request (`{badtcp, send_timeout}'). When the caller's time is
%% up, or it dies, the other node is told: it does not start the function if it has not yet. One
%% that runs goes on, unless the setting `kill_on_cancel' there says otherwise.
-spec call(dest(), versioned(), atom(), [term()], limit(), limit()) -> term() | call_error().
call(Dest, Module, Function, Args, ReceiveTimeout, SendTimeout)
  when ?IS_CALL(Dest, Module, Function, Args), ?IS_LIMIT(ReceiveTimeout), ?IS_LIMIT(SendTimeout) ->
    gen_rpc_result:to_rpc(gen_rpc_request:call(Dest, {Module, Function, Args},
                                               limit(ReceiveTimeout, call_receive_timeout),
                                               limit(SendTimeout, send_timeout)));
call(Dest, Module, Function, Args, ReceiveTimeout, SendTimeout) ->
    ?BADARG([{dest, Dest}, {module, Module}, {function, Function}, {args, Args},
             {limit, ReceiveTimeout}, {limit, SendTimeout}]).

%%% Casts

%% @equiv cast(Dest, Module, Function, [])
-spec cast(dest(), versioned(), atom()) -> true.
cast(Dest, Module, Function) ->
    cast(Dest, Module, Function, []).

%% @equiv cast(Dest, Module, Function, Args, undefined)
-spec cast(dest(), versioned(), atom(), [term()]) -> true.
cast(Dest, Module, Function, Args) ->
    cast(Dest, Module, Function, Args, undefined).

%% @doc Runs a function on another node and does not wait for it. Always `true': a cast that can't
%% be sent within SendTimeout, connecting included, is dropped and logged, as is the failure of the
%% function on the other side.
%%
%% If the connection is overloaded, the setting `cast_overload_policy' says what happens: `block'
%% waits for room within SendTimeout, `drop' drops the cast at once, `error' raises the error
%% `overload' at once.
-spec cast(dest(), versioned(), atom(), [term()], limit()) -> true.
cast(Dest, Module, Function, Args, SendTimeout)
  when ?IS_CALL(Dest, Module, Function, Args), ?IS_LIMIT(SendTimeout) ->
    was_cast(send_cast(cast, Dest, {Module, Function, Args}, SendTimeout));
cast(Dest, Module, Function, Args, SendTimeout) ->
    ?BADARG([{dest, Dest}, {module, Module}, {function, Function}, {args, Args},
             {limit, SendTimeout}]).

%% @equiv safe_cast(Dest, Module, Function, [])
-spec safe_cast(dest(), versioned(), atom()) -> true | {badrpc | badtcp, term()}.
safe_cast(Dest, Module, Function) ->
    safe_cast(Dest, Module, Function, []).

%% @equiv safe_cast(Dest, Module, Function, Args, undefined)
-spec safe_cast(dest(), versioned(), atom(), [term()]) -> true | {badrpc | badtcp, term()}.
safe_cast(Dest, Module, Function, Args) ->
    safe_cast(Dest, Module, Function, Args, undefined).

%% @doc As {@link cast/5}, but a cast that was not sent is told to the caller, and not to the log:
%% `{badrpc, overload}' under the policies `drop' and `error', `{badtcp, send_timeout}' under
%% `block', else what a call would return: `{badrpc, nodedown}', `{badrpc, invalid_cookie}',
%% `{badtcp, {tls, Reason}}', `{badrpc, {message_too_big, Size, Limit}}'. `true' says that it is on
%% its way, not that it has arrived.
-spec safe_cast(dest(), versioned(), atom(), [term()], limit()) ->
          true | {badrpc | badtcp, term()}.
safe_cast(Dest, Module, Function, Args, SendTimeout)
  when ?IS_CALL(Dest, Module, Function, Args), ?IS_LIMIT(SendTimeout) ->
    case send_cast(cast, Dest, {Module, Function, Args}, SendTimeout) of
        ok -> true;
        {not_sent, _Kind, _Dest, overload} -> {badrpc, overload};
        {not_sent, _Kind, _Dest, Why} -> Why
    end;
safe_cast(Dest, Module, Function, Args, SendTimeout) ->
    ?BADARG([{dest, Dest}, {module, Module}, {function, Function}, {args, Args},
             {limit, SendTimeout}]).

%% @doc As {@link cast/4}, but what one process casts in this way on one destination runs there in
%% the same order, one after the other: each when the one before it has ended, however it ended.
%% Calls and other casts do not wait for them. The order holds as long as the connection does.
-spec ordered_cast(dest(), versioned(), atom(), [term()]) -> true.
ordered_cast(Dest, Module, Function, Args) when ?IS_CALL(Dest, Module, Function, Args) ->
    was_cast(send_cast(ordered, Dest, {Module, Function, Args}, undefined));
ordered_cast(Dest, Module, Function, Args) ->
    ?BADARG([{dest, Dest}, {module, Module}, {function, Function}, {args, Args}]).

send_cast(Kind, Dest, Call, SendTimeout) ->
    gen_rpc_request:cast(Kind, Dest, Call, limit(SendTimeout, send_timeout)).

was_cast(Result) ->
    case gen_rpc_request:logged(Result) of
        ok -> true;
        refused -> error(overload)
    end.

%%% Calls whose result is taken later

%% @equiv async_call(Dest, Module, Function, [])
-spec async_call(dest(), versioned(), atom()) -> key().
async_call(Dest, Module, Function) ->
    async_call(Dest, Module, Function, []).

%% @doc Calls a function on another node. The result is taken by {@link yield/1} or {@link
%% nb_yield/2}, once, by any process of this node. It is kept, and the call goes on, until the
%% calling process ends, or until nobody has asked for it for `async_call_inactivity_timeout'.
%%
%% It does not wait for a connection; only on one that is overloaded it waits for room, for
%% `send_timeout' at most. A call that can't be sent yields its error.
-spec async_call(dest(), versioned(), atom(), [term()]) -> key().
async_call(Dest, Module, Function, Args) when ?IS_CALL(Dest, Module, Function, Args) ->
    gen_rpc_async:call(Dest, {Module, Function, Args});
async_call(Dest, Module, Function, Args) ->
    ?BADARG([{dest, Dest}, {module, Module}, {function, Function}, {args, Args}]).

%% @doc The result of an {@link async_call/4}, as {@link call/6} would return it; waits for it
%% without a limit. A key is good once: `{badrpc, timeout}' if its result has been taken, or is not
%% kept any more.
-spec yield(key()) -> term() | call_error().
yield({Holder, Ref} = Key) when is_pid(Holder), node(Holder) =:= node(), is_reference(Ref) ->
    gen_rpc_async:yield(Key);
yield(Key) ->
    ?BADARG([{key, Key}]).

%% @equiv nb_yield(Key, 0)
-spec nb_yield(key()) -> {value, term() | call_error()} | timeout.
nb_yield(Key) ->
    nb_yield(Key, 0).

%% @doc As {@link yield/1}, but waits for so many milliseconds at most. After `timeout' the key is
%% as good as before.
-spec nb_yield(key(), timeout()) -> {value, term() | call_error()} | timeout.
nb_yield({Holder, Ref} = Key, Timeout)
  when is_pid(Holder), node(Holder) =:= node(), is_reference(Ref), ?IS_TIMEOUT(Timeout) ->
    gen_rpc_async:nb_yield(Key, Timeout);
nb_yield(Key, Timeout) ->
    ?BADARG([{key, Key}, {timeout, Timeout}]).

%%% Many nodes

%% @doc {@link multicall/5} on this node and on those of {@link nodes/0}, without a time limit.
-spec multicall(versioned(), atom(), [term()]) -> {Results :: [term()], Bad :: [dest()]}.
multicall(Module, Function, Args) when ?IS_CALL(Module, Function, Args) ->
    multicall([node() | ?MODULE:nodes()], Module, Function, Args, infinity);
multicall(Module, Function, Args) ->
    ?BADARG([{module, Module}, {function, Function}, {args, Args}]).

%% @doc With a list of nodes first: {@link multicall/5} without a time limit. Else {@link
%% multicall/5} on this node and on those of {@link nodes/0}.
-spec multicall([dest()], versioned(), atom(), [term()]) -> {Results :: [term()], Bad :: [dest()]};
               (versioned(), atom(), [term()], timeout()) -> {Results :: [term()], Bad :: [dest()]}.
multicall(Dests, Module, Function, Args) when is_list(Dests) ->
    multicall(Dests, Module, Function, Args, infinity);
multicall(Module, Function, Args, Timeout)
  when ?IS_CALL(Module, Function, Args), ?IS_TIMEOUT(Timeout) ->
    multicall([node() | ?MODULE:nodes()], Module, Function, Args, Timeout);
multicall(Module, Function, Args, Timeout) ->
    ?BADARG([{module, Module}, {function, Function}, {args, Args}, {timeout, Timeout}]).

%% @doc Calls a function on many nodes at once, and waits for all of them, within one time limit.
%% Results are in the order of the nodes, each as {@link call/6} would return it. Bad are the nodes,
%% in that order, that have none: not reachable, lost, or too late.
-spec multicall([dest()], versioned(), atom(), [term()], timeout()) ->
          {Results :: [term()], Bad :: [dest()]}.
multicall(Dests, Module, Function, Args, Timeout) ->
    case gen_rpc_badarg:is(dests, Dests) of
        true when ?IS_CALL(Module, Function, Args), ?IS_TIMEOUT(Timeout) ->
            Outcomes = gen_rpc_multicall:call(Dests, {Module, Function, Args}, Timeout),
            Sorted = [sort(Dest, Outcome) || {Dest, Outcome} <- lists:zip(Dests, Outcomes)],
            {[Result || {result, Result} <- Sorted], [Dest || {bad, Dest} <- Sorted]};
        _ ->
            ?BADARG([{dests, Dests}, {module, Module}, {function, Function}, {args, Args},
                     {timeout, Timeout}])
    end.

%% What was too big has been refused by a node that is well.
sort(_Dest, {failed, _, {message_too_big, _, _}} = Outcome) ->
    {result, gen_rpc_result:to_rpc(Outcome)};
sort(Dest, {failed, _, _}) -> {bad, Dest};
sort(_Dest, Outcome) -> {result, gen_rpc_result:to_rpc(Outcome)}.

%% @doc With a list of nodes first: {@link eval_everywhere/4} without arguments. Else
%% {@link eval_everywhere/4} on this node and on those of {@link nodes/0}.
-spec eval_everywhere([dest()], versioned(), atom()) -> abcast;
                     (versioned(), atom(), [term()]) -> abcast.
eval_everywhere(Dests, Module, Function) when is_list(Dests) ->
    eval_everywhere(Dests, Module, Function, []);
eval_everywhere(Module, Function, Args) when ?IS_CALL(Module, Function, Args) ->
    eval_everywhere([node() | ?MODULE:nodes()], Module, Function, Args);
eval_everywhere(Module, Function, Args) ->
    ?BADARG([{module, Module}, {function, Function}, {args, Args}]).

%% @equiv eval_everywhere(Dests, Module, Function, Args, undefined)
-spec eval_everywhere([dest()], versioned(), atom(), [term()]) -> abcast.
eval_everywhere(Dests, Module, Function, Args) ->
    eval_everywhere(Dests, Module, Function, Args, undefined).

%% @doc {@link cast/5} on each of these nodes at once, within one time limit: a node that can't be
%% reached, or is overloaded, does not delay the others. With the policy `error' the error
%% `overload' is raised when all others have been served.
-spec eval_everywhere([dest()], versioned(), atom(), [term()], limit()) -> abcast.
eval_everywhere(Dests, Module, Function, Args, SendTimeout) ->
    case gen_rpc_badarg:is(dests, Dests) of
        true when ?IS_CALL(Module, Function, Args), ?IS_LIMIT(SendTimeout) ->
            gen_rpc_broadcast:cast(Dests, {Module, Function, Args},
                                   limit(SendTimeout, send_timeout));
        _ ->
            ?BADARG([{dests, Dests}, {module, Module}, {function, Function}, {args, Args},
                     {limit, SendTimeout}])
    end.

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
%% the policy `error' the error `overload' is raised when all others have been served.
-spec abcast([dest()], atom(), term()) -> abcast.
abcast(Dests, Name, Message) ->
    case gen_rpc_badarg:is(dests, Dests) of
        true when is_atom(Name) ->
            gen_rpc_broadcast:abcast(Dests, Name, Message, gen_rpc_config:get(send_timeout));
        _ ->
            ?BADARG([{dests, Dests}, {name, Name}])
    end.

%% @doc As {@link sbcast/3}, on this node and on those of {@link nodes/0}.
-spec sbcast(atom(), term()) -> {Good :: [dest()], Bad :: [dest()]}.
sbcast(Name, Message) ->
    sbcast([node() | ?MODULE:nodes()], Name, Message).

%% @doc As {@link abcast/3}, but waits until the message is delivered. Good are those where a
%% process is registered under the name; Bad those where none is, that can't be reached, that do not
%% allow it, or that have not answered within the setting `sbcast_receive_timeout', which is one
%% limit for all. Both are in the order given. A message to one that is Bad for its lateness may
%% still arrive.
-spec sbcast([dest()], atom(), term()) -> {Good :: [dest()], Bad :: [dest()]}.
sbcast(Dests, Name, Message) ->
    case gen_rpc_badarg:is(dests, Dests) of
        true when is_atom(Name) ->
            gen_rpc_broadcast:sbcast(Dests, Name, Message,
                                     gen_rpc_config:get(sbcast_receive_timeout));
        _ ->
            ?BADARG([{dests, Dests}, {name, Name}])
    end.

%%% The node

%% @doc The nodes that this one has an authenticated outgoing connection to, sorted.
-spec nodes() -> [node()].
nodes() ->
    gen_rpc_registry:nodes().

%% @doc Reads the application's environment anew and makes it the settings in force, all of it or,
%% after an error, nothing. No connection is lost. Module control is in force for the next request of
%% every connection; what belongs to a connection (limits, keepalive, compression), for connections
%% made from now on. What only a start can change is an error: `{restart_needed, Keys}'. Other
%% errors name the key, the value and what is allowed; each is in the log in words.
-spec reconfigure() -> ok | {error, gen_rpc_config:reason() | {not_started, gen_rpc}}.
reconfigure() ->
    gen_rpc_app:reconfigure().

limit(undefined, Setting) -> gen_rpc_config:get(Setting);
limit(Limit, _Setting) -> Limit.
