%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Functions inside of terms. Pure.
-module(gen_rpc_terms).

-export([fold_funs/3]).

%% Folds over every function in a term, those in the environments of others included. Its cost grows
%% with the number of parts of the term, not with the size of its binaries.
-spec fold_funs(fun((function(), Acc) -> Acc), Acc, term()) -> Acc.
fold_funs(F, Acc, [Head | Tail]) ->
    fold_funs(F, fold_funs(F, Acc, Head), Tail);
fold_funs(F, Acc, Tuple) when is_tuple(Tuple) ->
    fold_funs(F, Acc, tuple_to_list(Tuple));
fold_funs(F, Acc, Map) when is_map(Map) ->
    maps:fold(fun(Key, Value, In) -> fold_funs(F, fold_funs(F, In, Key), Value) end, Acc, Map);
fold_funs(F, Acc, Fun) when is_function(Fun) ->
    {env, Env} = erlang:fun_info(Fun, env),
    fold_funs(F, F(Fun, Acc), Env);
fold_funs(_F, Acc, _Other) ->
    Acc.
