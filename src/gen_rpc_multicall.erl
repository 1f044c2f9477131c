%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% One call to many nodes at once, under one time limit.
-module(gen_rpc_multicall).

-export([call/3]).

%% Outcomes in the order of the destinations. The arguments are encoded once.
-spec call([gen_rpc:dest()], gen_rpc_codec:call(), timeout()) -> [gen_rpc_result:outcome()].
call(Dests, Call, Timeout) ->
    Until = gen_rpc_request:fixed({in, Timeout}),
    Request = case lists:all(fun gen_rpc_dest:is_own/1, Dests) of
                  true -> none;
                  false -> gen_rpc_request:encode(Call)
              end,
    Ref = make_ref(),
    Numbered = lists:zip(lists:seq(1, length(Dests)), Dests),
    Pending = maps:from_list([{I, gen_rpc_pending:start({Ref, I}, Dest, Call, Request,
                                                        gen_rpc_request:left(Until), unlimited)}
                              || {I, Dest} <- Numbered]),
    Outcomes = collect(Ref, Pending, #{}, Until),
    [map_get(I, Outcomes) || {I, _Dest} <- Numbered].

%% All clauses match the reference, so the compiler lets the receive skip what was in the mailbox.
collect(_Ref, Pending, Outcomes, _Until) when map_size(Pending) =:= 0 ->
    Outcomes;
collect(Ref, Pending, Outcomes, Until) ->
    receive
        {{Ref, I}, _} = Message ->
            collected(I, Message, Ref, Pending, Outcomes, Until);
        {{Ref, I}, _, process, _, _} = Message ->
            collected(I, Message, Ref, Pending, Outcomes, Until)
    after gen_rpc_request:left(Until) ->
        maps:fold(fun(I, P, Acc) -> Acc#{I => abandoned({Ref, I}, P)} end, Outcomes, Pending)
    end.

collected(I, Message, Ref, Pending, Outcomes, Until) ->
    {P, Rest} = maps:take(I, Pending),
    collect(Ref, Rest, Outcomes#{I => gen_rpc_pending:outcome(Message, P)}, Until).

abandoned(Tag, P) ->
    case gen_rpc_pending:abandon(Tag, P) of
        {ok, Outcome} -> Outcome;
        _ -> {failed, badrpc, timeout}
    end.
