%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Bodies of requests and broadcasts. Usually the external term format of {M, F, A}, or of {Name,
%% Message}. When one binary makes up most of a large request, it travels behind the terms, and the
%% receiver gets it as a part of the message that the socket was read into: decoding it would copy
%% it once more. Pure.
-module(gen_rpc_codec).

-export([encode/3, decode/2]).
-export([encode_broadcast/2, decode_broadcast/2]).
-export([encode_code/1, decode_code/1]).
-export([name/1]).

-type call() :: {module() | {module(), Version :: term()}, atom(), maybe_improper_list()}.
%% What a peer sends as arguments need not be a proper list.
-export_type([call/0]).

%% From here on a copy costs more than the search for the binary.
-define(LARGE, (256 * 1024)).

%% First byte of the second form, and of what is no call but has to do with code.
-define(TAIL, 1).
-define(CODE, 2).

%% Of the external term format: its version, and the tags of what stands in front of a request.
-define(ETF, 131).
-define(SMALL_TUPLE, 104).
-define(ATOM_LATIN1, 100).
-define(SMALL_ATOM_LATIN1, 115).
-define(ATOM_UTF8, 118).
-define(SMALL_ATOM_UTF8, 119).

-spec encode(module() | {module(), Version :: term()}, atom(), [term()]) -> [binary()].
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

%% `invalid' also with option `safe' and an atom that this node does not know.
-spec decode(binary(), [safe]) -> call() | invalid.
decode(<<?TAIL, Size:32, Head:Size/binary, Tail/binary>>, Options) ->
    case gen_rpc_term:decode(Head, Options) of
        {ok, {M, F, Before, After}} when is_atom(F), is_list(Before) ->
            request(M, F, Before ++ [Tail | After]);
        _ ->
            invalid
    end;
decode(Plain, Options) ->
    case gen_rpc_term:decode(Plain, Options) of
        {ok, {M, F, A}} when is_atom(F), is_list(A) -> request(M, F, A);
        _ -> invalid
    end.

request(M, F, A) when is_atom(M) -> {M, F, A};
request({M, _Version} = Versioned, F, A) when is_atom(M) -> {Versioned, F, A};
request(_M, _F, _A) -> invalid.

%% A message to a registered process.
-spec encode_broadcast(atom(), term()) -> [binary()].
encode_broadcast(Name, Message) ->
    gen_rpc_term:encode({Name, Message}, [Message]).

-spec decode_broadcast(binary(), [safe]) -> {atom(), term()} | invalid.
decode_broadcast(Body, Options) ->
    case gen_rpc_term:decode(Body, Options) of
        {ok, {Name, _Message} = Broadcast} when is_atom(Name) -> Broadcast;
        _ -> invalid
    end.

%% What has to do with the code of modules. `none': it is a call.
-spec encode_code(gen_rpc_code:request()) -> [binary()].
encode_code(Request) ->
    [<<?CODE>> | erlang:term_to_iovec(Request)].

-spec decode_code(binary()) -> {ok, gen_rpc_code:request()} | none | invalid.
decode_code(<<?CODE, Bytes/binary>>) ->
    case gen_rpc_term:decode(Bytes, [safe]) of
        {ok, {Kind, List} = Request} when Kind =:= offer; Kind =:= load ->
            case is_proper(List) of
                true -> {ok, Request};
                false -> invalid
            end;
        _ ->
            invalid
    end;
decode_code(_) ->
    none.

is_proper([_ | Rest]) -> is_proper(Rest);
is_proper(Rest) -> Rest =:= [].

%% The module that a request names, or the process that a broadcast does, in UTF-8: read without
%% decoding, so no atom is made. The bytes are those of encode/3 and encode_broadcast/2, which begin
%% with a tuple whose first element is an atom, or a tuple of a module and its version.
-spec name(binary()) -> {ok, binary()} | invalid.
name(<<?TAIL, Size:32, Head:Size/binary, _/binary>>) -> first(Head);
name(Plain) -> first(Plain).

first(<<?ETF, ?SMALL_TUPLE, _Arity, ?SMALL_TUPLE, 2, Atom/binary>>) -> atom(Atom);
first(<<?ETF, ?SMALL_TUPLE, _Arity, Atom/binary>>) -> atom(Atom);
first(_) -> invalid.

atom(<<?SMALL_ATOM_UTF8, Size, Name:Size/binary, _/binary>>) -> {ok, Name};
atom(<<?ATOM_UTF8, Size:16, Name:Size/binary, _/binary>>) -> {ok, Name};
atom(<<?ATOM_LATIN1, Size:16, Name:Size/binary, _/binary>>) -> utf8(Name);
atom(<<?SMALL_ATOM_LATIN1, Size, Name:Size/binary, _/binary>>) -> utf8(Name);
atom(_) -> invalid.

utf8(Latin1) -> {ok, unicode:characters_to_binary(Latin1, latin1)}.
