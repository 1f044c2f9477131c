%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Terms to bytes and back: the external term format. Pure.
-module(gen_rpc_term).

-export([encode/2, decode/2]).

%% First byte, and the second one of a compressed term.
-define(ETF, 131).
-define(COMPRESSED, 80).

%% A binary of this size is copied in the time that a reference to it takes.
-define(COPY_MAX, 1024).

%% Parts that are looked at.
-define(PARTS_MAX, 8).

%% In one piece, or in several so that large binaries are not copied. Parts: all of the term that
%% can be large. When each of them is seen at once to be small, one piece is made straight away, in
%% a quarter to two thirds of the time.
-spec encode(term(), maybe_improper_list()) -> [binary()].
encode(Term, Parts) ->
    case are_small(Parts, ?PARTS_MAX) of
        true -> [term_to_binary(Term)];
        false -> erlang:term_to_iovec(Term)
    end.

%% What a peer has sent. Not the compressed form, which nobody needs here: it says itself how large it
%% will be, up to 4 GB, and no limit on the size of messages holds for that.
-spec decode(binary(), [safe]) -> {ok, term()} | invalid.
decode(<<?ETF, ?COMPRESSED, _/binary>>, _Options) ->
    invalid;
decode(Bytes, Options) ->
    try
        {ok, binary_to_term(Bytes, Options)}
    catch
        error:_ -> invalid
    end.

are_small([], _) -> true;
are_small([Part | Rest], Left) when Left > 0 -> is_small(Part) andalso are_small(Rest, Left - 1);
are_small(_, _) -> false.

is_small(Part) when is_atom(Part); is_float(Part); is_pid(Part); is_reference(Part) -> true;
is_small(Part) when is_binary(Part) -> byte_size(Part) =< ?COPY_MAX;
is_small(Part) when is_integer(Part) -> Part > -(1 bsl 64) andalso Part < 1 bsl 64;
is_small([]) -> true;
is_small({}) -> true;
is_small(_) -> false.
