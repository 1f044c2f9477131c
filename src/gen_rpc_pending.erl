%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Requests of the calling process whose outcomes come as messages, under a tag that it chooses:
%%   {Tag, Answer}                           from the driver, or from a holder
%%   {Tag, Monitor, process, Pid, Reason}    from a worker on the own node, or of a holder's end
%% Exactly one message of a request comes, unless it is abandoned; outcome/2 says what it means.
-module(gen_rpc_pending).

-export([start/6, outcome/2, abandon/2]).

-type t() :: done % at once: the message is there
           | {port, port(), pos_integer()}
           | {worker, pid(), Monitor :: reference()}
           | {holder, pid(), reference(), Monitor :: reference()}.
-export_type([t/0]).

%% Never waits; but see gen_rpc_holder:help/4 for Helpers. Request: the call as it is sent, if Dest is
%% another node. Timeout is what the other node is told; it is the caller's to abandon the request
%% then.
-spec start(Tag :: term(), gen_rpc:dest(), gen_rpc_codec:call(),
            Request :: gen_rpc_request:encoded() | none, timeout(),
            Helpers :: limited | unlimited) -> t().
start(Tag, Dest, Call, Request, Timeout, Helpers) ->
    case gen_rpc_dest:is_own(Dest) of
        true ->
            case gen_rpc_worker:start_local(Tag, group_leader(), Call) of
                {Pid, Monitor} -> {worker, Pid, Monitor};
                none -> done(Tag, {refused, system_limit})
            end;
        false ->
            Id = erlang:unique_integer([positive]),
            Connection = gen_rpc_request:connection(Dest),
            case gen_rpc_request:start(Connection, Tag, Id, Request, Timeout) of
                {ok, Port} -> {port, Port, Id};
                later -> start_later(Tag, Dest, Request, Helpers);
                {done, Outcome} -> done(Tag, Outcome)
            end
    end.

done(Tag, Outcome) ->
    self() ! {Tag, {outcome, Outcome}},
    done.

%% Where it takes waiting for a connection or for room, a holder has that done.
start_later(Tag, Dest, Request, Helpers) ->
    {Holder, Receiver} = gen_rpc_holder:pick(),
    Ref = make_ref(),
    Monitor = monitor(process, Holder, [{tag, Tag}]),
    ok = gen_rpc_holder:hold(Holder, Ref, nowhere),
    ok = gen_rpc_holder:take(Holder, Ref, Tag),
    Submitter = gen_rpc_async:submitter(Dest, {Holder, Receiver, Ref}, Request, infinity),
    ok = gen_rpc_holder:help(Holder, Ref, Submitter, Helpers),
    {holder, Holder, Ref, Monitor}.

-spec outcome(Message :: tuple(), t()) -> gen_rpc_result:outcome().
outcome({_Tag, Answer}, {holder, _Holder, _Ref, Monitor}) ->
    true = demonitor(Monitor, [flush]),
    gen_rpc_request:outcome(Answer);
outcome({_Tag, Answer}, _DoneOrPort) ->
    gen_rpc_request:outcome(Answer);
outcome({Tag, _Monitor, process, _Pid, Reason}, {worker, _, _}) ->
    gen_rpc_worker:end_of_local(Tag, Reason);
outcome({_Tag, _Monitor, process, _Pid, _Reason}, {holder, _, _, _}) ->
    {failed, badtcp, closed}.

%% Gives it up: no message of it will come, or stays in the mailbox. An outcome that has come counts.
%% `unknown': it has been taken from the mailbox before.
-spec abandon(Tag :: term(), t()) -> {ok, gen_rpc_result:outcome()} | none | unknown.
abandon(Tag, done) ->
    taken(Tag, done);
abandon(Tag, {port, Port, Id}) ->
    case gen_rpc_request:abandon(Port, Id, Tag) of
        none -> ok = gen_rpc_counters:add(calls_cancelled, 1), none;
        unknown -> unknown;
        Answer -> {ok, gen_rpc_request:outcome(Answer)}
    end;
abandon(Tag, {worker, Pid, Monitor} = Worker) ->
    case gen_rpc_worker:give_up(Pid, Monitor) of
        true -> none;
        false -> taken(Tag, Worker)
    end;
abandon(Tag, {holder, Holder, Ref, Monitor} = Held) ->
    Was = gen_rpc_holder:drop(Holder, Ref),
    true = demonitor(Monitor, [flush]),
    case taken(Tag, Held) of
        unknown when Was -> none;
        Result -> Result
    end.

taken(Tag, Pending) ->
    receive
        {Tag, _, process, _, _} = Message -> {ok, outcome(Message, Pending)};
        {Tag, _} = Message -> {ok, outcome(Message, Pending)}
    after 0 ->
        unknown
    end.
