%% SPDX-License-Identifier: Apache-2.0
%% Compares the ledgers of the callers with those of the servers: each call has ended once, nothing
%% has run twice, and what has run is what the callers were told.
-module(gen_rpc_test_books).

-export([written/1, calm/1, check/2, format/1]).

-include_lib("stdlib/include/assert.hrl").

-type totals() :: #{{gen_rpc_test_ledger:kind(), gen_rpc_test_ledger:outcome(), ran | not_run} =>
                        pos_integer()}.
-type result() :: #{calls := non_neg_integer(),   % and casts, of which a caller knows the outcome
                    ran := non_neg_integer(),
                    totals := totals(),
                    overtaken := non_neg_integer(), % ordered casts, by some over a new connection
                    unknown := non_neg_integer(), % has run, but its caller was killed
                    wrong := [term()]}.           % empty if all is well; not more than MOST of them
-export_type([result/0]).

%% Mistakes that are shown.
-define(MOST, 20).

%% How many records callers and servers have made so far.
-spec written(file:filename()) -> {Called :: non_neg_integer(), Served :: non_neg_integer()}.
written(Dir) ->
    {records(Dir, "called", gen_rpc_test_ledger:caller_bytes()),
     records(Dir, "served", gen_rpc_test_ledger:server_bytes())}.

records(Dir, Suffix, Size) ->
    lists:sum([filelib:file_size(File) div Size || File <- files(Dir, Suffix)]).

files(Dir, Suffix) ->
    filelib:wildcard(filename:join(Dir, "*." ++ Suffix)).

%% How many of those are of numbers that were called when nothing was the matter.
-spec calm(file:filename()) -> {Called :: non_neg_integer(), Served :: non_neg_integer()}.
calm(Dir) ->
    {calm_records(Dir, "called", gen_rpc_test_ledger:caller_bytes()),
     calm_records(Dir, "served", gen_rpc_test_ledger:server_bytes())}.

calm_records(Dir, Suffix, Size) ->
    lists:foldl(fun(File, Acc) -> fold(fun count_calm/2, Acc, File, Size) end, 0,
                files(Dir, Suffix)).

count_calm(<<Number:64, _/binary>>, Acc) ->
    case gen_rpc_test_ledger:of_number(Number) of
        #{calm := true} -> Acc + 1;
        #{calm := false} -> Acc
    end.

%% `Killed' are the lives of sites that were ended with their callers at work. Each of these may
%% have had one call under way, and nobody knows what became of it.
-spec check(file:filename(), Killed :: [{byte(), byte()}]) -> result().
check(Dir, Killed) ->
    Ran = ets:new(ran, [set, private]),
    Empty = #{calls => 0, ran => 0, totals => #{}, unknown => 0, overtaken => 0, wrong => []},
    Served = lists:foldl(fun(File, Acc) -> read_served(File, Ran, Acc) end, Empty,
                         files(Dir, "served")),
    Called = lists:foldl(fun(File, Acc) -> read_called(File, Ran, Acc) end, Served,
                         files(Dir, "called")),
    Result = ets:foldl(fun(Entry, Acc) -> nobody_knows(Entry, Killed, Acc) end, Called, Ran),
    check_unknown(Ran, Result).

%% Two of the same number, or ordered casts of one caller that did not run in its order. Those over
%% a new connection may overtake what still runs from the one that was lost.
read_served(File, Ran, Acc0) ->
    Server = site_of(File),
    {Result, _} =
        fold(fun(<<Number:64>>, {Acc, Last}) ->
                     Again = not ets:insert_new(Ran, {Number, Server}),
                     {Seen, Late} = in_order(Number, Last),
                     {wrong(Again, {ran_twice, shown(Number)},
                            out_of_order(Late, Number, count(ran, Acc))), Seen}
             end, {Acc0, #{}}, File, gen_rpc_test_ledger:server_bytes()),
    Result.

in_order(Number, Last) ->
    case gen_rpc_test_ledger:of_number(Number) of
        #{kind := ordered_cast, site := Site, life := Life, caller := Caller, seq := Seq} ->
            Key = {Site, Life, Caller},
            {Last#{Key => Seq}, Seq =< maps:get(Key, Last, -1)};
        _ ->
            {Last, false}
    end.

out_of_order(false, _Number, Acc) ->
    Acc;
out_of_order(true, Number, Acc) ->
    #{calm := Calm} = gen_rpc_test_ledger:of_number(Number),
    wrong(Calm, {out_of_order, shown(Number)}, count(overtaken, Acc)).

%% The name of a file begins with the number of its site.
site_of(File) ->
    list_to_integer(hd(string:lexemes(filename:basename(File), "."))).

read_called(File, Ran, Acc0) ->
    {Result, _} =
        fold(fun(<<Number:64, Server, Byte>>, {Acc, Last}) ->
                     Outcome = gen_rpc_test_ledger:outcome(Byte),
                     #{kind := Kind, caller := Caller, seq := Seq, calm := Calm} =
                         gen_rpc_test_ledger:of_number(Number),
                     {Did, Elsewhere} = case ets:take(Ran, Number) of
                                            [] -> {not_run, false};
                                            [{_, At}] -> {ran, At =/= Server}
                                        end,
                     #{totals := Totals} = Counted = count(calls, Acc),
                     Key = {Kind, Outcome, Did},
                     {wrong(Seq =/= maps:get(Caller, Last, -1) + 1, {not_next, shown(Number)},
                            wrong(Elsewhere, {ran_elsewhere, shown(Number)},
                                  wrong(not is_right(Outcome, Did, Calm),
                                        {Outcome, Did, shown(Number)},
                                        Counted#{totals := increment(Key, Totals)}))),
                      Last#{Caller => Seq}}
             end, {Acc0, #{}}, File, gen_rpc_test_ledger:caller_bytes()),
    Result.

%% What a caller may be told of what has run or has not. When nothing is the matter all calls work.
is_right(value, ran, _Calm) -> true;
is_right(sent, ran, _Calm) -> true;
is_right(sent, not_run, Calm) -> not Calm;
is_right(nodedown, not_run, Calm) -> not Calm;
is_right(timeout, _Did, Calm) -> not Calm;
is_right(badtcp, _Did, Calm) -> not Calm;
is_right(_Outcome, _Did, _Calm) -> false.

%% What has run and is in no caller's ledger.
nobody_knows({Number, _}, Killed, Acc) ->
    #{site := Site, life := Life} = gen_rpc_test_ledger:of_number(Number),
    wrong(not lists:member({Site, Life}, Killed), {never_called, shown(Number)},
          count(unknown, Acc)).

check_unknown(Ran, Result) ->
    Callers = [maps:with([site, life, caller], gen_rpc_test_ledger:of_number(Number))
               || {Number, _} <- ets:tab2list(Ran)],
    true = ets:delete(Ran),
    wrong(length(Callers) =/= length(lists:usort(Callers)), two_unknown_of_one_caller, Result).

count(What, Acc) ->
    maps:update_with(What, fun(N) -> N + 1 end, Acc).

increment(Key, Map) ->
    maps:update_with(Key, fun(N) -> N + 1 end, 1, Map).

wrong(true, What, #{wrong := Wrong} = Acc) when length(Wrong) < ?MOST ->
    Acc#{wrong := [What | Wrong]};
wrong(_, _What, Acc) ->
    Acc.

shown(Number) ->
    gen_rpc_test_ledger:of_number(Number).

%% The last record of a node that was killed may be cut short: nobody has been told of it.
fold(Fun, Acc, File, Size) ->
    {ok, Bytes} = file:read_file(File),
    fold_records(Fun, Acc, Bytes, Size).

fold_records(Fun, Acc, Bytes, Size) ->
    case Bytes of
        <<Record:Size/binary, Rest/binary>> -> fold_records(Fun, Fun(Record, Acc), Rest, Size);
        _CutShort -> Acc
    end.

%% A table of what callers were told.
-spec format(result()) -> string().
format(#{calls := Calls, ran := Ran, totals := Totals, unknown := Unknown,
         overtaken := Overtaken}) ->
    Lines = [io_lib:format("  ~-14s ~-14s ~-8s ~8b~n", [Kind, Outcome, Did, N])
             || {{Kind, Outcome, Did}, N} <- lists:sort(maps:to_list(Totals))],
    lists:flatten([io_lib:format("~b calls and casts, ~b ran, ~b of which the caller was killed, "
                                 "~b ordered casts overtaken~n",
                                 [Calls, Ran, Unknown, Overtaken]) | Lines]).
