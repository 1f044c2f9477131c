%% SPDX-License-Identifier: Apache-2.0
%% @doc The functions of OTP's `erpc', over connections of gen_rpc.
%%
%% Results and exceptions are those of `erpc', down to the atom `erpc' in them. Where that takes a
%% node, `{Node, Key}' does as well, see {@link gen_rpc}. A timeout is in milliseconds, `infinity',
%% which is also what is meant where none is given, or `{abs, Time}', a point of
%% `erlang:monotonic_time(millisecond)'.
%%
%% What `erpc' has no exception for raises `error:{erpc, Reason}', with the reasons of {@link
%% gen_rpc:call_error()}: `unauthorized', `invalid_request', `{message_too_big, Size, Limit}',
%% `{external_source_error, Reason}'. No connection, one that is lost, and a wrong cookie are
%% `error:{erpc, noconnection}'.
-module(gen_rpc_erpc).

-export([call/2, call/3, call/4, call/5]).
-export([cast/2, cast/4, multicast/2, multicast/4]).
-export([multicall/2, multicall/3, multicall/4, multicall/5]).
-export([send_request/2, send_request/4, send_request/6]).
-export([receive_response/1, receive_response/2, receive_response/3]).
-export([wait_response/1, wait_response/2, wait_response/3]).
-export([check_response/2, check_response/3]).
-export([reqids_new/0, reqids_size/1, reqids_add/3, reqids_to_list/1]).

-define(MAX_TIMEOUT, 16#FFFFFFFF).

%% What gen_rpc_badarg has in words, as guards.
-define(IS_DEST(Dest), (is_atom(Dest) orelse (tuple_size(Dest) =:= 2
                                              andalso is_atom(element(1, Dest))))).
-define(IS_MFA(M, F, A), (is_atom(M) andalso is_atom(F) andalso is_list(A))).
-define(IS_TIMEOUT(T), (T =:= infinity
                        orelse (is_integer(T) andalso T >= 0 andalso T =< ?MAX_TIMEOUT)
                        orelse (tuple_size(T) =:= 2 andalso element(1, T) =:= abs
                                andalso is_integer(element(2, T))))).
-define(IS_COLLECTION(Collection, Timeout, Delete),
        (is_map(Collection) andalso ?IS_TIMEOUT(Timeout) andalso is_boolean(Delete))).
-define(IS_REQUEST(Tag, Owner), (is_reference(Tag) andalso is_pid(Owner))).

-define(BADARG(Arguments), error({erpc, badarg}, none, gen_rpc_badarg:why(Arguments))).

-type timeout_time() :: 0..?MAX_TIMEOUT | infinity | {abs, integer()}.

-type owned() :: {Owner :: pid(), gen_rpc_pending:t()}.

-opaque request_id() :: nonempty_improper_list(reference(), owned()).
%% Good for the process that sent the request.

-opaque request_id_collection() ::
          #{reference() => nonempty_improper_list(owned(), Label :: term())}.

-type caught_call_exception() :: {throw, term()}
                               | {exit, {exception | signal, term()}}
                               | {error, {exception, term(), Stack :: [term()]}}
                               | {error, {erpc, term()}}.
-export_type([timeout_time/0, request_id/0, request_id_collection/0, caught_call_exception/0]).

-dialyzer({no_improper_lists, [start/2, reqids_to_list/1, put_request/3]}).

%%% Calls

%% @equiv call(Dest, Fun, infinity)
-spec call(gen_rpc:dest(), fun(() -> term())) -> term().
call(Dest, Fun) ->
    call(Dest, Fun, infinity).

%% @doc Calls a function object without arguments; see {@link gen_rpc:call/3} for what it takes.
-spec call(gen_rpc:dest(), fun(() -> term()), timeout_time()) -> term().
call(Dest, Fun, Timeout) when is_function(Fun, 0), ?IS_TIMEOUT(Timeout) ->
    call(Dest, erlang, apply, [Fun, []], Timeout);
call(Dest, Fun, Timeout) ->
    ?BADARG([{dest, Dest}, {'fun', Fun}, {erpc_timeout, Timeout}]).

%% @equiv call(Dest, Module, Function, Args, infinity)
-spec call(gen_rpc:dest(), module(), atom(), [term()]) -> term().
call(Dest, Module, Function, Args) ->
    call(Dest, Module, Function, Args, infinity).

%% @doc As `erpc:call/5'.
-spec call(gen_rpc:dest(), module(), atom(), [term()], timeout_time()) -> term().
call(Dest, Module, Function, Args, Timeout)
  when ?IS_DEST(Dest), ?IS_MFA(Module, Function, Args), ?IS_TIMEOUT(Timeout) ->
    result(gen_rpc_request:call(Dest, {Module, Function, Args}, left(Timeout), infinity));
call(Dest, Module, Function, Args, Timeout) ->
    ?BADARG([{dest, Dest}, {erpc_module, Module}, {function, Function}, {args, Args},
             {erpc_timeout, Timeout}]).

%% @equiv multicall(Dests, Fun, infinity)
-spec multicall([gen_rpc:dest()], fun(() -> term())) -> [{ok, term()} | caught_call_exception()].
multicall(Dests, Fun) ->
    multicall(Dests, Fun, infinity).

%% @doc As `erpc:multicall/3'.
-spec multicall([gen_rpc:dest()], fun(() -> term()), timeout_time()) ->
          [{ok, term()} | caught_call_exception()].
multicall(Dests, Fun, Timeout) when is_function(Fun, 0), ?IS_TIMEOUT(Timeout) ->
    multicall(Dests, erlang, apply, [Fun, []], Timeout);
multicall(Dests, Fun, Timeout) ->
    ?BADARG([{dests, Dests}, {'fun', Fun}, {erpc_timeout, Timeout}]).

%% @equiv multicall(Dests, Module, Function, Args, infinity)
-spec multicall([gen_rpc:dest()], module(), atom(), [term()]) ->
          [{ok, term()} | caught_call_exception()].
multicall(Dests, Module, Function, Args) ->
    multicall(Dests, Module, Function, Args, infinity).

%% @doc As `erpc:multicall/5': results in the order of the destinations.
-spec multicall([gen_rpc:dest()], module(), atom(), [term()], timeout_time()) ->
          [{ok, term()} | caught_call_exception()].
multicall(Dests, Module, Function, Args, Timeout) ->
    case gen_rpc_badarg:is(dests, Dests) of
        true when ?IS_MFA(Module, Function, Args), ?IS_TIMEOUT(Timeout) ->
            Outcomes = gen_rpc_multicall:call(Dests, {Module, Function, Args}, left(Timeout)),
            [gen_rpc_result:to_erpc(Outcome) || Outcome <- Outcomes];
        _ ->
            ?BADARG([{dests, Dests}, {erpc_module, Module}, {function, Function}, {args, Args},
                     {erpc_timeout, Timeout}])
    end.

%%% Casts

%% @doc As `erpc:cast/2', but what is no function without arguments raises `{erpc, badarg}'.
-spec cast(gen_rpc:dest(), fun(() -> term())) -> ok.
cast(Dest, Fun) when is_function(Fun, 0) ->
    cast(Dest, erlang, apply, [Fun, []]);
cast(Dest, Fun) ->
    ?BADARG([{dest, Dest}, {'fun', Fun}]).

%% @doc As `erpc:cast/4', with the settings of {@link gen_rpc:cast/4}: `send_timeout', and
%% `cast_overload_policy', where `error' raises `{erpc, overload}'.
-spec cast(gen_rpc:dest(), module(), atom(), [term()]) -> ok.
cast(Dest, Module, Function, Args) when ?IS_DEST(Dest), ?IS_MFA(Module, Function, Args) ->
    SendTimeout = gen_rpc_config:get(send_timeout),
    case gen_rpc_request:logged(gen_rpc_request:cast(cast, Dest, {Module, Function, Args},
                                                     SendTimeout)) of
        ok -> ok;
        refused -> error({erpc, overload})
    end;
cast(Dest, Module, Function, Args) ->
    ?BADARG([{dest, Dest}, {erpc_module, Module}, {function, Function}, {args, Args}]).

%% @doc As `erpc:multicast/2', with the check of {@link cast/2}.
-spec multicast([gen_rpc:dest()], fun(() -> term())) -> ok.
multicast(Dests, Fun) when is_function(Fun, 0) ->
    multicast(Dests, erlang, apply, [Fun, []]);
multicast(Dests, Fun) ->
    ?BADARG([{dests, Dests}, {'fun', Fun}]).

%% @doc As `erpc:multicast/4', with the settings of {@link gen_rpc:eval_everywhere/4}.
-spec multicast([gen_rpc:dest()], module(), atom(), [term()]) -> ok.
multicast(Dests, Module, Function, Args) ->
    case gen_rpc_badarg:is(dests, Dests) of
        true when ?IS_MFA(Module, Function, Args) ->
            cast_all(Dests, {Module, Function, Args});
        _ ->
            ?BADARG([{dests, Dests}, {erpc_module, Module}, {function, Function}, {args, Args}])
    end.

cast_all(Dests, Call) ->
    try gen_rpc_broadcast:cast(Dests, Call, gen_rpc_config:get(send_timeout)) of
        abcast -> ok
    catch
        error:overload -> error({erpc, overload})
    end.

%%% Requests whose responses are taken later, by the process that sent them

%% @doc As `erpc:send_request/2'. Never waits for a connection.
-spec send_request(gen_rpc:dest(), fun(() -> term())) -> request_id().
send_request(Dest, Fun) when is_function(Fun, 0) ->
    send_request(Dest, erlang, apply, [Fun, []]);
send_request(Dest, Fun) ->
    ?BADARG([{dest, Dest}, {'fun', Fun}]).

%% @doc As `erpc:send_request/4', in both of its forms.
-spec send_request(gen_rpc:dest(), module(), atom(), [term()]) -> request_id();
                  (gen_rpc:dest(), fun(() -> term()), Label :: term(), request_id_collection()) ->
          request_id_collection().
send_request(Dest, Module, Function, Args) when ?IS_DEST(Dest), ?IS_MFA(Module, Function, Args) ->
    start(Dest, {Module, Function, Args});
send_request(Dest, Fun, Label, Collection) when is_function(Fun, 0), is_map(Collection) ->
    send_request(Dest, erlang, apply, [Fun, []], Label, Collection);
send_request(Dest, Fun, Label, Collection) when is_function(Fun) ->
    ?BADARG([{dest, Dest}, {'fun', Fun}, {any, Label}, {collection, Collection}]);
send_request(Dest, Module, Function, Args) ->
    ?BADARG([{dest, Dest}, {erpc_module, Module}, {function, Function}, {args, Args}]).

%% @doc As `erpc:send_request/6'.
-spec send_request(gen_rpc:dest(), module(), atom(), [term()], Label :: term(),
                   request_id_collection()) -> request_id_collection().
send_request(Dest, Module, Function, Args, Label, Collection)
  when ?IS_DEST(Dest), ?IS_MFA(Module, Function, Args), is_map(Collection) ->
    put_request(start(Dest, {Module, Function, Args}), Label, Collection);
send_request(Dest, Module, Function, Args, Label, Collection) ->
    ?BADARG([{dest, Dest}, {erpc_module, Module}, {function, Function}, {args, Args},
             {any, Label}, {collection, Collection}]).

start(Dest, Call) ->
    Request = case gen_rpc_dest:is_own(Dest) of
                  true -> none;
                  false -> gen_rpc_request:encode(Call)
              end,
    Tag = make_ref(),
    [Tag | {self(), gen_rpc_pending:start(Tag, Dest, Call, Request, infinity, limited)}].

%% @equiv receive_response(RequestId, infinity)
-spec receive_response(request_id()) -> term().
receive_response(RequestId) ->
    receive_response(RequestId, infinity).

%% @doc As `erpc:receive_response/2'.
-spec receive_response(request_id(), timeout_time()) -> term().
receive_response([Tag | {Owner, Pending}], Timeout)
  when ?IS_REQUEST(Tag, Owner), ?IS_TIMEOUT(Timeout) ->
    Time = left(Timeout),
    receive
        {Tag, _} = Message -> response(Message, Pending);
        {Tag, _, process, _, _} = Message -> response(Message, Pending)
    after Time ->
        case abandon(Tag, Owner, Pending) of
            {ok, Outcome} -> result(Outcome);
            none -> error({erpc, timeout});
            unknown -> ?BADARG([{outstanding, Tag}])
        end
    end;
receive_response(RequestId, Timeout) ->
    ?BADARG([{request, RequestId}, {erpc_timeout, Timeout}]).

%% @doc As `erpc:receive_response/3'.
-spec receive_response(request_id_collection(), timeout_time(), Delete :: boolean()) ->
          {Response :: term(), Label :: term(), request_id_collection()} | no_request.
receive_response(Collection, Timeout, Delete) when ?IS_COLLECTION(Collection, Timeout, Delete) ->
    case next(Collection, left(Timeout), Delete) of
        {Outcome, Label, Rest} ->
            labelled(fun() -> result(Outcome) end, Label, Rest);
        no_request ->
            no_request;
        timeout ->
            case lists:member(invalid, [abandon(Tag, Entry)
                                        || {Tag, Entry} <- maps:to_list(Collection)]) of
                true -> ?BADARG([{entries, Collection}]);
                false -> error({erpc, timeout})
            end;
        invalid ->
            ?BADARG([{entries, Collection}])
    end;
receive_response(Collection, Timeout, Delete) ->
    ?BADARG([{collection, Collection}, {erpc_timeout, Timeout}, {boolean, Delete}]).

%% @equiv wait_response(RequestId, 0)
-spec wait_response(request_id()) -> {response, term()} | no_response.
wait_response(RequestId) ->
    wait_response(RequestId, 0).

%% @doc As `erpc:wait_response/2'.
-spec wait_response(request_id(), timeout_time()) -> {response, term()} | no_response.
wait_response([Tag | {Owner, Pending}], Timeout)
  when ?IS_REQUEST(Tag, Owner), ?IS_TIMEOUT(Timeout) ->
    Time = left(Timeout),
    receive
        {Tag, _} = Message -> {response, response(Message, Pending)};
        {Tag, _, process, _, _} = Message -> {response, response(Message, Pending)}
    after Time ->
        no_response
    end;
wait_response(RequestId, Timeout) ->
    ?BADARG([{request, RequestId}, {erpc_timeout, Timeout}]).

%% @doc As `erpc:wait_response/3'.
-spec wait_response(request_id_collection(), timeout_time(), Delete :: boolean()) ->
          {{response, term()}, Label :: term(), request_id_collection()}
              | no_response | no_request.
wait_response(Collection, Timeout, Delete) when ?IS_COLLECTION(Collection, Timeout, Delete) ->
    case next(Collection, left(Timeout), Delete) of
        {Outcome, Label, Rest} ->
            labelled(fun() -> {response, result(Outcome)} end, Label, Rest);
        no_request ->
            no_request;
        timeout ->
            no_response;
        invalid ->
            ?BADARG([{entries, Collection}])
    end;
wait_response(Collection, Timeout, Delete) ->
    ?BADARG([{collection, Collection}, {erpc_timeout, Timeout}, {boolean, Delete}]).

%% @doc As `erpc:check_response/2'.
-spec check_response(Message :: term(), request_id()) -> {response, term()} | no_response.
check_response(Message, [Tag | {Owner, Pending}]) when ?IS_REQUEST(Tag, Owner) ->
    case is_of(Message, Tag) of
        true -> {response, response(Message, Pending)};
        false -> no_response
    end;
check_response(Message, RequestId) ->
    ?BADARG([{any, Message}, {request, RequestId}]).

%% @doc As `erpc:check_response/3'.
-spec check_response(Message :: term(), request_id_collection(), Delete :: boolean()) ->
          {{response, term()}, Label :: term(), request_id_collection()}
              | no_response | no_request.
check_response(_Message, Collection, Delete) when map_size(Collection) =:= 0, is_boolean(Delete) ->
    no_request;
check_response(Message, Collection, Delete) when is_map(Collection), is_boolean(Delete) ->
    Tag = tag(Message),
    case is_reference(Tag) andalso is_map_key(Tag, Collection) of
        true ->
            case take(Message, Collection, Delete) of
                {Outcome, Label, Rest} ->
                    labelled(fun() -> {response, result(Outcome)} end, Label, Rest);
                invalid ->
                    ?BADARG([{any, Message}, {entries, Collection}])
            end;
        false ->
            no_response
    end;
check_response(Message, Collection, Delete) ->
    ?BADARG([{any, Message}, {collection, Collection}, {boolean, Delete}]).

%% The first response of any of them.
next(Collection, _Time, _Delete) when map_size(Collection) =:= 0 ->
    no_request;
next(Collection, Time, Delete) ->
    receive
        {Tag, _} = Message when is_reference(Tag), is_map_key(Tag, Collection) ->
            take(Message, Collection, Delete);
        {Tag, _, process, _, _} = Message when is_reference(Tag), is_map_key(Tag, Collection) ->
            take(Message, Collection, Delete)
    after Time ->
        timeout
    end.

take(Message, Collection, Delete) ->
    Tag = tag(Message),
    case Collection of
        #{Tag := [{Owner, Pending} | Label]} when is_pid(Owner) ->
            Rest = case Delete of
                       true -> maps:remove(Tag, Collection);
                       false -> Collection
                   end,
            {gen_rpc_pending:outcome(Message, Pending), Label, Rest};
        #{} ->
            invalid
    end.

%% What a collection's response raises tells which one it was.
labelled(Result, Label, Rest) ->
    try
        {Result(), Label, Rest}
    catch
        throw:Reason -> throw({Reason, Label, Rest});
        exit:Reason -> exit({Reason, Label, Rest});
        error:Reason -> error({Reason, Label, Rest})
    end.

response(Message, Pending) ->
    result(gen_rpc_pending:outcome(Message, Pending)).

abandon(Tag, [{Owner, Pending} | _Label]) when ?IS_REQUEST(Tag, Owner) ->
    abandon(Tag, Owner, Pending);
abandon(_Tag, _) ->
    invalid.

%% Not that of another process, which may wait for it.
abandon(Tag, Owner, Pending) when Owner =:= self() -> gen_rpc_pending:abandon(Tag, Pending);
abandon(_Tag, _Owner, _Pending) -> unknown.

tag({Tag, _}) -> Tag;
tag({Tag, _, process, _, _}) -> Tag;
tag(_) -> none.

is_of(Message, Tag) -> tag(Message) =:= Tag.

%%% Collections of requests

%% @doc As `erpc:reqids_new/0'.
-spec reqids_new() -> request_id_collection().
reqids_new() ->
    #{}.

%% @doc As `erpc:reqids_size/1'.
-spec reqids_size(request_id_collection()) -> non_neg_integer().
reqids_size(Collection) when is_map(Collection) ->
    map_size(Collection);
reqids_size(Collection) ->
    ?BADARG([{collection, Collection}]).

%% @doc As `erpc:reqids_add/3'.
-spec reqids_add(request_id(), Label :: term(), request_id_collection()) ->
          request_id_collection().
reqids_add([Tag | {Owner, _Pending}] = RequestId, Label, Collection)
  when ?IS_REQUEST(Tag, Owner), is_map(Collection), not is_map_key(Tag, Collection) ->
    put_request(RequestId, Label, Collection);
reqids_add([Tag | _], Label, Collection) when is_map_key(Tag, Collection) ->
    ?BADARG([{new_request, Tag}, {any, Label}, {collection, Collection}]);
reqids_add(RequestId, Label, Collection) ->
    ?BADARG([{request, RequestId}, {any, Label}, {collection, Collection}]).

put_request([Tag | Owned], Label, Collection) ->
    Collection#{Tag => [Owned | Label]}.

%% @doc As `erpc:reqids_to_list/1'.
-spec reqids_to_list(request_id_collection()) -> [{request_id(), Label :: term()}].
reqids_to_list(Collection) when is_map(Collection) ->
    Entries = maps:to_list(Collection),
    case lists:all(fun is_entry/1, Entries) of
        true -> [{[Tag | Owned], Label} || {Tag, [Owned | Label]} <- Entries];
        false -> ?BADARG([{entries, Collection}])
    end;
reqids_to_list(Collection) ->
    ?BADARG([{collection, Collection}]).

is_entry({Tag, [{Owner, _Pending} | _Label]}) -> ?IS_REQUEST(Tag, Owner);
is_entry(_) -> false.

%%% Results

result(Outcome) ->
    case gen_rpc_result:to_erpc(Outcome) of
        {ok, Value} -> Value;
        {throw, Value} -> throw(Value);
        {exit, Reason} -> exit(Reason);
        {error, Reason} -> error(Reason)
    end.

-spec left(timeout_time()) -> timeout().
left({abs, Time} = Timeout) ->
    case Time - erlang:monotonic_time(millisecond) of
        Left when Left =< ?MAX_TIMEOUT -> max(0, Left);
        _ -> ?BADARG([{erpc_timeout, Timeout}])
    end;
left(Time) ->
    Time.
