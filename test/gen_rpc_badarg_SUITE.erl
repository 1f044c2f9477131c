%% SPDX-License-Identifier: Apache-2.0
%% Arguments of a wrong type: the error is badarg, and what a shell shows of it says which argument it
%% is and what is allowed there.
-module(gen_rpc_badarg_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0]).
-export([each_argument_is_named/1, several_are_all_named/1, entries_are_looked_at/1, values_are_not_kept/1,
         right_ones_are_not_named/1, guards_and_words_agree/1, shown_by_the_shell/1]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [each_argument_is_named, several_are_all_named, entries_are_looked_at, values_are_not_kept, right_ones_are_not_named,
     guards_and_words_agree, shown_by_the_shell].

%% Calls with right arguments, each with a wrong one put in the place of one of them.
functions() ->
    Dest = {dest, 'nobody@127.0.0.9'},
    Dests = {dests, ['nobody@127.0.0.9']},
    Call = [{module, lists}, {function, reverse}, {args, [[]]}],
    ErpcCall = [{erpc_module, lists}, {function, reverse}, {args, [[]]}],
    Fun = {'fun', fun() -> ok end},
    Limit = {limit, 10},
    Timeout = {timeout, 10},
    ErpcTimeout = {erpc_timeout, 10},
    Request = {request, gen_rpc_erpc_request()},
    Collection = {collection, #{}},
    [{gen_rpc, F, Args}
     || {F, Args} <- [{call, [Dest, Fun]}, {call, [Dest, Fun, Limit]}, {call, [Dest | Call]},
                      {call, [Dest | Call] ++ [Limit]}, {call, [Dest | Call] ++ [Limit, Limit]},
                      {cast, [Dest | Call]}, {cast, [Dest | Call] ++ [Limit]},
                      {safe_cast, [Dest | Call]}, {safe_cast, [Dest | Call] ++ [Limit]},
                      {ordered_cast, [Dest | Call]}, {async_call, [Dest | Call]},
                      {yield, [{key, {self(), make_ref()}}]},
                      {nb_yield, [{key, {self(), make_ref()}}]},
                      {nb_yield, [{key, {self(), make_ref()}}, Timeout]},
                      {multicall, [Dests | Call]}, {multicall, [Dests | Call] ++ [Timeout]},
                      {multicall, Call}, {multicall, Call ++ [Timeout]},
                      {eval_everywhere, Call}, {eval_everywhere, [Dests | Call]},
                      {eval_everywhere, [Dests | Call] ++ [Limit]},
                      {abcast, [Dests, {name, a}, {any, b}]},
                      {sbcast, [Dests, {name, a}, {any, b}]}]]
        ++ [{gen_rpc_erpc, F, Args}
            || {F, Args} <- [{call, [Dest, Fun]}, {call, [Dest, Fun, ErpcTimeout]},
                             {call, [Dest | ErpcCall]}, {call, [Dest | ErpcCall] ++ [ErpcTimeout]},
                             {cast, [Dest, Fun]}, {cast, [Dest | ErpcCall]},
                             {multicall, [Dests, Fun]}, {multicall, [Dests, Fun, ErpcTimeout]},
                             {multicall, [Dests | ErpcCall]},
                             {multicall, [Dests | ErpcCall] ++ [ErpcTimeout]},
                             {multicast, [Dests, Fun]}, {multicast, [Dests | ErpcCall]},
                             {send_request, [Dest, Fun]}, {send_request, [Dest | ErpcCall]},
                             {send_request, [Dest, Fun, {any, label}, Collection]},
                             {send_request, [Dest | ErpcCall] ++ [{any, label}, Collection]},
                             {receive_response, [Request]},
                             {receive_response, [Request, ErpcTimeout]},
                             {receive_response, [Collection, ErpcTimeout, {boolean, true}]},
                             {wait_response, [Request]}, {wait_response, [Request, ErpcTimeout]},
                             {wait_response, [Collection, ErpcTimeout, {boolean, true}]},
                             {check_response, [{any, message}, Request]},
                             {check_response, [{any, message}, Collection, {boolean, false}]},
                             {reqids_size, [Collection]},
                             {reqids_add, [Request, {any, label}, Collection]},
                             {reqids_to_list, [Collection]}]].

gen_rpc_erpc_request() ->
    [make_ref() | {self(), done}].

wrong(dest) -> ["node", 1, {a}, {"a", b}, {a, b, c}, <<"a@b">>, [], self()];
wrong(dests) -> [a, {a, b}, [a | b], ["a"], [a, 1], #{}];
wrong(module) -> ["lists", 1, {lists}, {"lists", 1}, {lists, 1, 2}, self()];
wrong(erpc_module) -> ["lists", 1, {lists, 1}, #{}];
wrong(function) -> ["reverse", 1, {reverse}, fun lists:reverse/1];
wrong(args) -> [a, {}, <<>>, #{}, 1];
wrong('fun') -> [a, fun(X) -> X end, fun lists:reverse/1, {lists, reverse}];
wrong(limit) -> [-1, 1.0, soon, "1", 16#100000000, {abs, 1}];
wrong(timeout) -> [undefined | wrong(limit)];
wrong(erpc_timeout) -> [-1, 1.0, soon, "1", 16#100000000, {abs, soon}, {abs}, undefined];
wrong(name) -> ["name", {name, node()}, self(), 1];
wrong(key) -> [a, {self()}, {make_ref(), self()}, {self(), a}, make_ref(), []];
wrong(boolean) -> [1, "true", maybe_];
wrong(request) -> [a, [], [a], [make_ref()], [make_ref() | {a, done}], {make_ref(), a}, #{}, make_ref()];
wrong(collection) -> [a, [], [a], {}, make_ref()];
wrong(any) -> [].

%% What stands for another function's arguments in this place: not wrong, but another call.
is_another_call(gen_rpc, call, [_, {'fun', _} | _], 2, Other) ->
    is_atom(Other) orelse is_tuple(Other);
is_another_call(gen_rpc, multicall, [{dests, _}, _, _, _], 1, Other) ->
    not is_list(Other);
is_another_call(gen_rpc, eval_everywhere, [{module, _} | _], 1, Other) ->
    is_list(Other);
is_another_call(gen_rpc, multicall, [{module, _}, _, _, _], 1, Other) ->
    is_list(Other);
is_another_call(gen_rpc_erpc, send_request, [_, {'fun', _}, _, _], 2, Other) ->
    is_atom(Other);
is_another_call(_, _, _, _, _) ->
    false.

%% The first one that is wrong in a call is named by its number, with what is allowed.
each_argument_is_named(_Config) ->
    [begin
         Arguments = put_at(N, Wrong, [Value || {_, Value} <- Args]),
         {Reason, Shown} = raised(M, F, Arguments),
         ?assertEqual({M, F, Arguments, expected(M)}, {M, F, Arguments, Reason}),
         ?assertMatch(#{N := "must be " ++ _}, Shown, {M, F, Arguments})
     end || {M, F, Args} <- functions(),
            {N, {Kind, _}} <- lists:zip(lists:seq(1, length(Args)), Args),
            Wrong <- wrong(Kind),
            not is_another_call(M, F, Args, N, Wrong)],
    ok.

expected(gen_rpc) -> badarg;
expected(gen_rpc_erpc) -> {erpc, badarg}.

put_at(N, Value, List) ->
    {Before, [_ | After]} = lists:split(N - 1, List),
    Before ++ [Value | After].

raised(M, F, Arguments) ->
    try apply(M, F, Arguments) of
        Value -> {{returned, Value}, none}
    catch
        error:Reason:Stack -> {Reason, gen_rpc_badarg:format_error(Reason, Stack)}
    end.

%% If several are wrong each is named, and only those.
several_are_all_named(_Config) ->
    {badarg, Shown} = raised(gen_rpc, call, ["n", lists, "f", args, -1, undefined]),
    ?assertEqual([1, 3, 4, 5], lists:sort(maps:keys(Shown))).

%% A collection of something else is a map too: its entries are looked at when they are needed.
entries_are_looked_at(_Config) ->
    [?assertMatch({{expected, {erpc, badarg}}, #{1 := "must be a collection of request ids, " ++ _}},
                  {{expected, Reason}, Shown})
     || Collection <- [#{a => b}, #{make_ref() => a}, #{make_ref() => [{a, done} | label]}],
        {F, Args} <- [{reqids_to_list, [Collection]}, {receive_response, [Collection, 0, true]}],
        {Reason, Shown} <- [raised(gen_rpc_erpc, F, Args)]],
    Ref = make_ref(),
    ?assertMatch({{erpc, badarg}, #{2 := "must be" ++ _}},
                 raised(gen_rpc_erpc, check_response, [{Ref, answer}, #{Ref => a}, true])).

%% What is wrong may be a secret: no value is in the error.
values_are_not_kept(_Config) ->
    try gen_rpc:call(node(), lists, reverse, "secret", secret) catch
        error:badarg:Stack ->
            ?assertEqual(nomatch, string:find(io_lib:format("~p", [Stack]), "secret"))
    end.

%% All that is right passes: nothing is named then.
right_ones_are_not_named(_Config) ->
    [?assertEqual([{error_info, #{module => gen_rpc_badarg, cause => #{}}}],
                  gen_rpc_badarg:why([{Kind, Value}]))
     || {Kind, Values} <- [{dest, [node(), {node(), "any key"}]},
                           {dests, [[], [a, {b, c}]]},
                           {module, [lists, {lists, "any version"}]},
                           {erpc_module, [lists]},
                           {function, [f]},
                           {args, [[], [a], [a | b]]},
                           {limit, [0, 1, 16#FFFFFFFF, infinity, undefined]},
                           {timeout, [0, 1, 16#FFFFFFFF, infinity]},
                           {erpc_timeout, [0, 16#FFFFFFFF, infinity,
                                           {abs, erlang:monotonic_time(millisecond)}]},
                           {any, [1, a]}],
        Value <- Values].

%% No argument that is called wrong here gets past a guard, and none that is right is stopped by one.
guards_and_words_agree(_Config) ->
    [[?assertNot(gen_rpc_badarg:is(Kind, Wrong), {Kind, Wrong}) || Wrong <- wrong(Kind)]
     || Kind <- [dest, dests, module, erpc_module, function, args, 'fun', limit, timeout,
                 erpc_timeout, name, key, boolean, request, collection]],
    [?assertNotMatch({_, #{}}, catch_badarg(M, F, [Value || {_, Value} <- Args]), {M, F})
     || {M, F, Args} <- functions(), is_pure(F)],
    ok.

%% Those that need neither the application nor a request that was sent.
is_pure(F) -> lists:member(F, [check_response, reqids_size, reqids_add, reqids_to_list]).

catch_badarg(M, F, Args) ->
    raised(M, F, Args).

%% The words come out where people look.
shown_by_the_shell(_Config) ->
    try gen_rpc:call(node(), lists, "reverse", [[]], soon) catch
        error:badarg:Stack ->
            Text = lists:flatten(erl_error:format_exception(error, badarg, Stack)),
            [?assertNotEqual(nomatch, string:find(Text, Part), Part)
             || Part <- ["bad argument", "gen_rpc:call/6",
                         "argument 3: must be the name of a function, an atom",
                         "argument 5: must be a time in ms (0..4294967295), infinity or undefined"]]
    end.
