%% SPDX-License-Identifier: Apache-2.0
%% Bodies of requests and broadcasts. Usually the external term format of {M, F, A}, or of {Name,
%% Message}. When one binary makes up most of a large request, it travels behind the terms, and the
%% receiver gets it as a part of the message that the socket was read into: decoding it would copy
%% it once more. Pure.
-module(gen_rpc_codec).

-export([encode/3, decode/1]).
-export([encode_broadcast/2, decode_broadcast/1]).

%% From here on a copy costs more than the search for the binary.
-define(LARGE, (256 * 1024)).

%% First byte of the second form; that of the external term format is 131.
-define(TAIL, 1).

-spec encode(module(), atom(), [term()]) -> [binary()].
encode(M, F, A) ->
    Plain = gen_rpc_term:encode({M, F, A}, A),
    case iolist_size(Plain) of
        Size when Size < ?LARGE -> Plain;
        Size -> encode_large(M, F, A, Size, Plain)
    end.

encode_large(M, F, A, Size, Plain) ->
    case split(A, Size div 2, []) of
        {Before, Tail, After} ->
            Head = term_to_binary({M, F, Before, After}),
            [<<?TAIL, (byte_size(Head)):32>>, Head, Tail];
        none ->
            Plain
    end.

%% The argument that is a binary of more than Min bytes. The receiver may keep it, and with it the
%% whole message: that is less than twice as much.
split([Tail | After], Min, Before) when is_binary(Tail), byte_size(Tail) > Min ->
    {lists:reverse(Before), Tail, After};
split([Arg | Rest], Min, Before) ->
    split(Rest, Min, [Arg | Before]);
split(_, _Min, _Before) ->
    none.

-spec decode(binary()) -> {module(), atom(), [term()]} | invalid.
decode(<<?TAIL, Size:32, Head:Size/binary, Tail/binary>>) ->
    try binary_to_term(Head) of
        {M, F, Before, After} when is_atom(M), is_atom(F), is_list(Before) ->
            {M, F, Before ++ [Tail | After]};
        _ ->
            invalid
    catch
        error:badarg -> invalid
    end;
decode(Plain) ->
    try binary_to_term(Plain) of
        {M, F, A} = Request when is_atom(M), is_atom(F), is_list(A) -> Request;
        _ -> invalid
    catch
        error:badarg -> invalid
    end.

%% A message to a registered process.
-spec encode_broadcast(atom(), term()) -> [binary()].
encode_broadcast(Name, Message) ->
    gen_rpc_term:encode({Name, Message}, [Message]).

-spec decode_broadcast(binary()) -> {atom(), term()} | invalid.
decode_broadcast(Body) ->
    try binary_to_term(Body) of
        {Name, _Message} = Broadcast when is_atom(Name) -> Broadcast;
        _ -> invalid
    catch
        error:badarg -> invalid
    end.
