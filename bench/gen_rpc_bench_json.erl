%% SPDX-License-Identifier: Apache-2.0
%% JSON from maps with atom keys, lists, binaries, atoms and numbers.
-module(gen_rpc_bench_json).

-export([encode/1]).

-type json() :: #{atom() => json()} | [json()] | binary() | atom() | number().

-spec encode(json()) -> iodata().
encode(Map) when is_map(Map) ->
    Fields = [[encode(Key), $:, encode(Value)] || {Key, Value} <- maps:to_list(Map)],
    [${, lists:join($,, Fields), $}];
encode(List) when is_list(List) ->
    [$[, lists:join($,, [encode(Value) || Value <- List]), $]];
encode(Integer) when is_integer(Integer) ->
    integer_to_list(Integer);
encode(Float) when is_float(Float) ->
    float_to_list(Float, [{decimals, 4}, compact]);
encode(Word) when Word =:= true; Word =:= false; Word =:= null ->
    atom_to_list(Word);
encode(Atom) when is_atom(Atom) ->
    encode(atom_to_binary(Atom));
encode(Binary) when is_binary(Binary) ->
    [$", [escape(Char) || <<Char/utf8>> <= Binary], $"].

escape($") -> "\\\"";
escape($\\) -> "\\\\";
escape(Char) when Char < $\s -> io_lib:format("\\u~4.16.0b", [Char]);
escape(Char) -> <<Char/utf8>>.
