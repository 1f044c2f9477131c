%% SPDX-License-Identifier: Apache-2.0
%% One call to many nodes at once, under one time limit.
-module(gen_rpc_multicall).

-export([call/3]).

%% Outcomes in the order of the destinations. The arguments are encoded once.
-spec call([gen_rpc:dest()], gen_rpc_codec:call(), timeout()) -> [gen_rpc_result:outcome()].
call(Dests, {M, F, A} = Call, Timeout) ->
    Until = gen_rpc_request:fixed({in, Timeout}),
    Request = case lists:all(fun gen_rpc_dest:is_own/1, Dests) of
                  true -> [];
                  false -> gen_rpc_codec:encode(M, F, A)
              end,
    Ref = make_ref(),
    {Pending, Done} = start(Ref, Dests, Call, Request, Until, 1, #{}, #{}),
    Outcomes = collect(Ref, Pending, Done, Until),
    [map_get(I, Outcomes) || I <- lists:seq(1, length(Dests))].

start(Ref, [Dest | Rest], Call, Request, Until, I, Pending, Done) ->
    case gen_rpc_pending:start({Ref, I}, Dest, Call, Request, gen_rpc_request:left(Until)) of
        {pending, P} -> start(Ref, Rest, Call, Request, Until, I + 1, Pending#{I => P}, Done);
        {done, D} -> start(Ref, Rest, Call, Request, Until, I + 1, Pending, Done#{I => D})
    end;
start(_Ref, [], _Call, _Request, _Until, _I, Pending, Done) ->
    {Pending, Done}.

collect(_Ref, Pending, Done, _Until) when map_size(Pending) =:= 0 ->
    Done;
collect(Ref, Pending, Done, Until) ->
    receive
        {{Ref, _}, _} = Message -> collected(Message, Ref, Pending, Done, Until);
        {{Ref, _}, _, process, _, _} = Message -> collected(Message, Ref, Pending, Done, Until)
    after gen_rpc_request:left(Until) ->
        maps:fold(fun(I, P, Acc) -> Acc#{I => abandoned({Ref, I}, P)} end, Done, Pending)
    end.

collected(Message, Ref, Pending, Done, Until) ->
    {_, I} = element(1, Message),
    {P, Rest} = maps:take(I, Pending),
    collect(Ref, Rest, Done#{I => gen_rpc_pending:outcome(Message, P)}, Until).

abandoned(Tag, P) ->
    case gen_rpc_pending:abandon(Tag, P) of
        {ok, Outcome} -> Outcome;
        _ -> {failed, badrpc, timeout}
    end.
