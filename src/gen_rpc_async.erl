%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Calls whose result is taken later, by any process of the node.
-module(gen_rpc_async).

-export([call/2, yield/1, nb_yield/2]).
-export([submitter/4]).

-type key() :: {Holder :: pid(), reference()}.
-export_type([key/0]).

%% Waits for nothing but room on a connection that is overloaded.
-spec call(gen_rpc:dest(), gen_rpc_codec:call()) -> key().
call(Dest, Call) ->
    {Holder, Receiver} = gen_rpc_holder:pick(),
    Ref = make_ref(),
    ok = case gen_rpc_dest:is_own(Dest) of
             true ->
                 gen_rpc_holder:run(Holder, Ref, group_leader(), Call);
             false ->
                 start(Dest, {Holder, Receiver, Ref}, gen_rpc_request:encode(Call))
         end,
    {Holder, Ref}.

start(Dest, {Holder, _Receiver, Ref} = For, Request) ->
    SendTimeout = gen_rpc_config:get(send_timeout),
    case gen_rpc_request:connection(Dest) of
        none ->
            ok = gen_rpc_holder:hold(Holder, Ref, nowhere),
            gen_rpc_holder:help(Holder, Ref, submitter(Dest, For, Request, SendTimeout),
                                limited);
        {ok, _Port} = Connection ->
            submit(Connection, Dest, For, Request, SendTimeout,
                   fun(Port, Id) -> gen_rpc_holder:hold(Holder, Ref, {port, Port, Id}) end);
        {failed, _, _} = Failed ->
            ok = gen_rpc_holder:hold(Holder, Ref, nowhere),
            gen_rpc_holder:done(Holder, Ref, Failed)
    end.

%% What submits a request that is held, for a process that may wait.
-spec submitter(gen_rpc:dest(), {pid(), gen_rpc_port:receiver(), reference()},
                gen_rpc_request:encoded(), timeout()) -> fun(() -> ok).
submitter(Dest, {Holder, _Receiver, Ref} = For, Request, SendTimeout) ->
    fun() ->
            submit(gen_rpc_request:connection(Dest), Dest, For, Request, SendTimeout,
                   fun(Port, Id) -> gen_rpc_holder:at(Holder, Ref, Port, Id) end)
    end.

submit(Connection, Dest, {Holder, Receiver, Ref}, Request, SendTimeout, Tell) ->
    Id = erlang:unique_integer([positive]),
    case gen_rpc_request:submit_for(Connection, Dest, {Receiver, Ref, Id}, Request, SendTimeout,
                                    fun(Port) -> Tell(Port, Id) end) of
        ok -> ok;
        {done, Outcome} -> gen_rpc_holder:done(Holder, Ref, Outcome)
    end.

%% Once for each key: then it is as if its time were up.
-spec yield(key()) -> term() | {badrpc, term()} | {badtcp, term()}.
yield(Key) ->
    {value, Value} = nb_yield(Key, infinity),
    Value.

-spec nb_yield(key(), timeout()) -> {value, term()} | timeout.
nb_yield({Holder, Ref}, Timeout) ->
    Tag = monitor(process, Holder),
    ok = gen_rpc_holder:take(Holder, Ref, Tag),
    receive
        {Tag, Answer} ->
            true = demonitor(Tag, [flush]),
            {value, value(Answer)};
        {'DOWN', Tag, process, _, _} ->
            {value, {badtcp, closed}}
    after Timeout ->
        Left = gen_rpc_holder:leave(Holder, Ref, Tag),
        true = demonitor(Tag, [flush]),
        receive
            {Tag, Answer} -> {value, value(Answer)}
        after 0 ->
            case Left of
                ok -> timeout;
                gone -> {value, {badtcp, closed}}
            end
        end
    end.

value(Answer) ->
    gen_rpc_result:to_rpc(gen_rpc_request:outcome(Answer)).
