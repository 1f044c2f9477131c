%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% How a function ended: its form on the wire, and what rpc makes of it. Pure.
-module(gen_rpc_result).

-export([encode/1, decode/1, to_rpc/1, to_erpc/1]).

-type outcome() :: {return, term()}
                 | {throw, term()}
                 | {exit, term()}                 % the function exited
                 | {error, term(), [term()]}      % reason and stack
                 | {signal, term()}               % the worker was killed
                 | {refused, atom()}              % it was not run
                 | failed().

-type failed() :: {failed, badrpc | badtcp, term()}. % no outcome came from the other side
-export_type([outcome/0, failed/0]).

-type erpc() :: {ok, term()}
              | {throw, term()}
              | {exit, {exception | signal, term()}}
              | {error, {exception, term(), [term()]} | {erpc, term()}}.
-export_type([erpc/0]).

%% Numbers instead of atoms: they decode faster and make no atom. What failed is not sent.
-define(RETURN, 0).
-define(THROW, 1).
-define(EXIT, 2).
-define(ERROR, 3).
-define(SIGNAL, 4).
-define(REFUSED, 5).

%% A large binary is sent as it is, behind this byte, so that decoding does not copy it. The first
%% byte of the external term format is 131.
-define(RAW, 1).
-define(LARGE, (256 * 1024)).

-spec encode(outcome()) -> [binary()].
encode({return, Value}) when is_binary(Value), byte_size(Value) >= ?LARGE -> [<<?RAW>>, Value];
encode({return, Value}) -> gen_rpc_term:encode({?RETURN, Value}, [Value]);
encode({throw, Value}) -> erlang:term_to_iovec({?THROW, Value});
encode({exit, Reason}) -> erlang:term_to_iovec({?EXIT, Reason});
encode({error, Reason, Stack}) -> erlang:term_to_iovec({?ERROR, Reason, Stack});
encode({signal, Reason}) -> erlang:term_to_iovec({?SIGNAL, Reason});
encode({refused, Reason}) -> erlang:term_to_iovec({?REFUSED, Reason}).

-spec decode(binary()) -> outcome() | invalid.
decode(<<?RAW, Value/binary>>) ->
    {return, Value};
decode(Bytes) ->
    case gen_rpc_term:decode(Bytes, []) of
        {ok, {?RETURN, Value}} -> {return, Value};
        {ok, {?THROW, Value}} -> {throw, Value};
        {ok, {?EXIT, Reason}} -> {exit, Reason};
        {ok, {?ERROR, Reason, Stack}} -> {error, Reason, Stack};
        {ok, {?SIGNAL, Reason}} -> {signal, Reason};
        {ok, {?REFUSED, Reason}} -> {refused, Reason};
        _ -> invalid
    end.

%% What rpc:call returns.
-spec to_rpc(outcome()) -> term() | {badrpc, term()}.
to_rpc({return, {'EXIT', _} = Value}) -> {badrpc, Value};
to_rpc({return, Value}) -> Value;
to_rpc({throw, {'EXIT', _} = Value}) -> {badrpc, Value};
to_rpc({throw, Value}) -> Value;
to_rpc({exit, Reason}) -> {badrpc, {'EXIT', Reason}};
to_rpc({error, Reason, Stack}) -> {badrpc, {'EXIT', {Reason, Stack}}};
to_rpc({signal, Reason}) -> {badrpc, {'EXIT', Reason}};
to_rpc({refused, Reason}) -> {badrpc, Reason};
to_rpc({failed, Class, Reason}) -> {Class, Reason}.

%% What erpc:multicall has in its list; what erpc:call returns or raises.
-spec to_erpc(outcome()) -> erpc().
to_erpc({return, Value}) -> {ok, Value};
to_erpc({throw, Value}) -> {throw, Value};
to_erpc({exit, Reason}) -> {exit, {exception, Reason}};
to_erpc({error, Reason, Stack}) -> {error, {exception, Reason, Stack}};
to_erpc({signal, Reason}) -> {exit, {signal, Reason}};
to_erpc({refused, Reason}) -> {error, {erpc, Reason}};
to_erpc({failed, badtcp, _}) -> {error, {erpc, noconnection}};
to_erpc({failed, badrpc, Reason}) when Reason =:= nodedown; Reason =:= invalid_cookie ->
    {error, {erpc, noconnection}};
to_erpc({failed, badrpc, Reason}) -> {error, {erpc, Reason}}.
