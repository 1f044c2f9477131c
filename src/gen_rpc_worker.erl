%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Worker: the process of one request. It decodes, runs, and hands the reply to the port itself.
-module(gen_rpc_worker).

-export([start_cast/1, start_casts/1, start_monitored/3, no_process/0, refuse/2]).
-export([call/3, cast/1, reply/3, report_exit/3, kill/1]).
-export([local_call/2, start_local/3, end_of_local/2, give_up/2, local_cast/1]).
-export([run_local/3, run_local_cast/1]).

%% Starts the worker of a cast.
-spec start_cast(binary()) -> ok.
start_cast(Request) ->
    start(cast, Request).

start(Function, Arg) ->
    try spawn(?MODULE, Function, [Arg]) of
        _Worker -> ok
    catch
        error:system_limit -> no_process()
    end.

-spec start_casts([binary()]) -> ok.
start_casts(Requests) ->
    lists:foreach(fun start_cast/1, Requests).

%% Starts a worker whose end comes as {Tag, Monitor, process, Pid, Reason}. `none': the node has as
%% many processes as it may have.
-spec start_monitored(call | cast | run_local | run_local_cast, [term()], Tag :: term()) ->
          {pid(), reference()} | none.
start_monitored(Function, Args, Tag) ->
    try
        spawn_opt(?MODULE, Function, Args, [{monitor, [{tag, Tag}]}])
    catch
        error:system_limit -> none
    end.

%% That is what became of a cast.
-spec no_process() -> ok.
no_process() ->
    gen_rpc_log:message(#{what => "cast dropped", reason => system_limit}).

%% And of a call: its caller is told.
-spec refuse(port(), pos_integer()) -> ok.
refuse(Port, Id) ->
    reply_at_once(Port, Id, gen_rpc_result:encode({refused, system_limit})).

%% Serves a call that came over a connection.
-spec call(port(), pos_integer(), binary()) -> no_return().
call(Port, Id, Request) ->
    Outcome = case gen_rpc_gate:open(Request) of
                  {run, M, F, A} -> execute(M, F, A);
                  {refused, invalid_request} -> serve_other(Request);
                  Refused -> Refused
              end,
    reply(Port, Id, gen_rpc_result:encode(Outcome)),
    %% Not `normal', with which the function can end this process before there is a reply.
    exit(replied).

%% What is no call is rare, so it is looked for last.
serve_other(Request) ->
    case gen_rpc_codec:decode_code(Request) of
        {ok, Code} -> gen_rpc_code:serve(Code);
        _ -> {refused, invalid_request}
    end.

%% Serves a cast that came over a connection.
-spec cast(binary()) -> ok.
cast(Request) ->
    run_cast(gen_rpc_gate:open(Request)).

%% Tells the caller that the worker of its request died. Never blocks the acceptor: the reply may
%% have to wait for room.
-spec report_exit(port(), pos_integer(), term()) -> ok.
report_exit(Port, Id, Reason) ->
    Reply = gen_rpc_result:encode({signal, Reason}),
    try spawn(?MODULE, reply, [Port, Id, Reply]) of
        _Pid -> ok
    catch
        error:system_limit -> reply_at_once(Port, Id, Reply)
    end.

%% A call to the own node: same semantics, no transport.
-spec local_call(gen_rpc_codec:call(), timeout()) -> gen_rpc_result:outcome().
local_call(Call, Timeout) ->
    Tag = make_ref(),
    case start_local(Tag, group_leader(), Call) of
        {Pid, Monitor} ->
            receive
                {Tag, _, process, _, Reason} -> end_of_local(Tag, Reason)
            after Timeout ->
                case give_up(Pid, Monitor) of
                    true -> {failed, badrpc, timeout};
                    false -> receive {Tag, _, process, _, Reason} -> end_of_local(Tag, Reason) end
                end
            end;
        none ->
            {refused, system_limit}
    end.

%% Starts the worker of such a call. The message of its end, {Tag, Monitor, process, Pid, Reason},
%% has the outcome in it, so that one message is enough; end_of_local/2 takes it out.
-spec start_local(Tag :: term(), Leader :: pid(), gen_rpc_codec:call()) ->
          {pid(), reference()} | none.
start_local(Tag, Leader, Call) ->
    start_monitored(run_local, [Tag, Leader, Call], Tag).

-spec end_of_local(Tag :: term(), Reason :: term()) -> gen_rpc_result:outcome().
end_of_local(Tag, {Tag, Outcome}) -> Outcome;
end_of_local(_Tag, Reason) -> {signal, Reason}.

%% Nobody waits for that worker any more. `false': it has ended, and its message is there.
-spec give_up(pid(), reference()) -> boolean().
give_up(Worker, Monitor) ->
    case {demonitor(Monitor, [info]), gen_rpc_config:get(kill_on_cancel)} of
        {true, true} -> ok = kill(Worker), true;
        {Gone, _} -> Gone
    end.

%% Kills the worker of a call that nobody waits for any more.
-spec kill(pid()) -> ok.
kill(Worker) ->
    true = exit(Worker, kill),
    gen_rpc_counters:add(workers_killed, 1).

-spec run_local(Tag :: term(), Leader :: pid(), gen_rpc_codec:call()) -> no_return().
run_local(Tag, Leader, {M, F, A}) ->
    true = group_leader(Leader, self()),
    exit({Tag, case gen_rpc_gate:check(M, F, A) of
                   {run, Module, _, _} -> execute(Module, F, A);
                   Refused -> Refused
               end}).

-spec local_cast(gen_rpc_codec:call()) -> ok.
local_cast(Call) ->
    start(run_local_cast, Call).

-spec run_local_cast(gen_rpc_codec:call()) -> ok.
run_local_cast({M, F, A}) ->
    run_cast(gen_rpc_gate:check(M, F, A)).

%% Not a tail call: this frame is where the stack that the caller sees is cut.
execute(M, F, A) ->
    try apply(M, F, A) of
        Value -> {return, Value}
    catch
        throw:Value -> {throw, Value};
        exit:Reason -> {exit, Reason};
        error:Reason:Stack -> {error, Reason, cut_stack(Stack, M, F, A)}
    end.

%% The stack as rpc shows it: down to the called function, and nothing of ours.
cut_stack(Stack, M, F, A) ->
    case lists:splitwith(fun(Frame) -> not is_our_frame(Frame) end, Stack) of
        {_, []} ->
            Stack;
        {[], _} ->
            [{M, F, A, []}];
        {Frames, _} ->
            case {arity(A), lists:last(Frames)} of
                {_, {M, F, A, _}} -> Frames;
                {Arity, {M, F, Arity, _}} -> Frames;
                {improper, _} -> Frames;
                {Arity, _} -> Frames ++ [{M, F, Arity, []}]
            end
    end.

%% Arguments, not an arity, are in it when the function itself raised error/2.
is_our_frame({?MODULE, execute, _, _}) -> true;
is_our_frame(_) -> false.

%% A list that comes from elsewhere need not be a proper one.
arity(A) ->
    try
        length(A)
    catch
        error:badarg -> improper
    end.

%% Submits a reply; waits for room if there is none.
-spec reply(port(), pos_integer(), [binary()]) -> ok.
reply(Port, Id, Reply) ->
    %% Without a tag: what makes waiting possible costs a third of submitting.
    case gen_rpc_port:reply(Port, Id, <<>>, Reply) of
        busy -> reply_in_turn(Port, Id, Reply);
        _ -> ok
    end.

%% If there is room; else the caller's time limit ends its wait.
reply_at_once(Port, Id, Reply) ->
    _ = gen_rpc_port:reply(Port, Id, <<>>, Reply),
    ok.

reply_in_turn(Port, Id, Reply) ->
    Ref = make_ref(),
    case gen_rpc_port:reply(Port, Id, term_to_binary(Ref), Reply) of
        busy ->
            %% No time limit: the connection's own ends the wait, and a closed port answers.
            receive
                {Ref, ready} -> reply_in_turn(Port, Id, Reply);
                {Ref, {unsent, _}} -> ok
            end;
        _ ->
            ok
    end.

%% A cast that fails or is refused has nobody to tell, so it is one line in the log.
run_cast({run, M, F, A}) ->
    case execute(M, F, A) of
        {error, Reason, _} -> failed_cast(M, F, A, error, Reason);
        {exit, Reason} when Reason =/= normal -> failed_cast(M, F, A, exit, Reason);
        _ -> ok
    end;
run_cast({refused, unauthorized}) ->
    ok; % the gate has said so
run_cast({refused, Reason}) ->
    gen_rpc_log:message(#{what => "cast refused", reason => Reason}).

failed_cast(M, F, A, Class, Reason) ->
    gen_rpc_log:message(#{what => "cast failed", function => {M, F, arity(A)}, class => Class,
                          reason => gen_rpc_log:kind(Reason)}).
