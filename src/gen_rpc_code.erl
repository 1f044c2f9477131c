%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Code shipping: the modules of anonymous functions, for nodes that lack them. A module is offered
%% to a connection once for each version; if the other node wants it, its code follows. It loads
%% only what it has not at all, so nothing that runs there is ever replaced.
%%
%% Both ends must have the setting fun_code_shipping. The process of this module serialises loading:
%% of two versions of a module that arrive at once the first one stays.
-module(gen_rpc_code).

-behaviour(gen_server).

-export([new/0, start_link/0]).
-export([of_call/1, is_known/2, known/2, forget/1, offer/1, read/2]).
-export([serve/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(TABLE, ?MODULE).

%% What code:which/1 tells of a module that came this way.
-define(ORIGIN, "gen_rpc").

%% In characters, as an atom has.
-define(NAME_MAX, 255).

-type version() :: {module(), MD5 :: binary()}.
-type request() :: {offer, [{Name :: binary(), MD5 :: binary()}]}
                 | {load, [{Name :: binary(), MD5 :: binary(), Code :: binary()}]}.
-export_type([version/0, request/0]).

%% The table of what each connection knows of. It belongs to the top supervisor.
-spec new() -> ok.
new() ->
    ?TABLE = ets:new(?TABLE, [named_table, public, ordered_set, {read_concurrency, true}]),
    ok.

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%%% The side that calls

%% The modules that the anonymous functions among the arguments were made in; none, if code is not
%% to be shipped.
-spec of_call(gen_rpc_codec:call()) -> [version()].
of_call({_M, _F, A}) ->
    case gen_rpc_config:get(fun_code_shipping) of
        true -> lists:usort(gen_rpc_terms:fold_funs(fun version/2, [], A));
        false -> []
    end.

version(Fun, Acc) ->
    case erlang:fun_info(Fun, type) of
        {type, local} ->
            {module, Module} = erlang:fun_info(Fun, module),
            {new_uniq, MD5} = erlang:fun_info(Fun, new_uniq),
            [{Module, MD5} | Acc];
        {type, external} ->
            Acc
    end.

%% Whether all of these were offered to that connection.
-spec is_known(port(), [version()]) -> boolean().
is_known(Port, Versions) ->
    lists:all(fun(Version) -> ets:member(?TABLE, {Port, Version}) end, Versions).

-spec known(port(), [version()]) -> ok.
known(Port, Versions) ->
    true = ets:insert(?TABLE, [{{Port, Version}} || Version <- Versions]),
    ok.

%% That connection is closed.
-spec forget(port()) -> ok.
forget(Port) ->
    true = ets:match_delete(?TABLE, {{Port, '_'}}),
    ok.

%% The request that asks whether these are wanted; the answer is a list of names.
-spec offer([version()]) -> request().
offer(Versions) ->
    {offer, [{atom_to_binary(Module), MD5} || {Module, MD5} <- Versions]}.

%% What brings the code of those that are wanted. What is loaded here may not be what is on the disk any more:
%% then there is none.
-spec read([version()], Wanted :: [term()]) -> [{Name :: binary(), MD5 :: binary(), binary()}].
read(Versions, Wanted) ->
    [{Name, MD5, Code} || {Module, MD5} <- Versions,
                          Name <- [atom_to_binary(Module)],
                          lists:member(Name, Wanted),
                          Code <- object_code(Module, MD5)].

object_code(Module, MD5) ->
    case code:get_object_code(Module) of
        {Module, Code, _File} -> [Code || code:module_md5(Code) =:= MD5];
        error -> []
    end.

%%% The side that is called

%% Answers a request of the other side.
-spec serve(request()) -> gen_rpc_result:outcome().
serve({offer, Offered}) ->
    {return, [Name || {Name, MD5} <- Offered, is_binary(MD5), may_load(Name)]};
serve({load, Code}) ->
    {return, [load(Name, MD5, Beam) || {Name, MD5, Beam} <- Code]}.

%% Only if the setting says so, module control allows what it brings to be called, and there is no
%% such module, in whatever version, nor a file that one would be loaded from. A whitelist is there
%% to be complete, so nothing is added to what its names stand for.
may_load(Name) ->
    gen_rpc_config:get(fun_code_shipping) andalso is_name(Name)
        andalso gen_rpc_policy:may_load(gen_rpc_config:policy(), Name)
        andalso not is_loaded(Name)
        andalso code:where_is_file(unicode:characters_to_list(Name) ++ ".beam") =:= non_existing.

%% Such names stay in the directories that are searched.
is_name(Name) when is_binary(Name) ->
    case unicode:characters_to_list(Name) of
        [_ | _] = Text ->
            length(Text) =< ?NAME_MAX
                andalso lists:all(fun(C) -> C > $\s andalso C =/= $/ end, Text);
        _ ->
            false
    end;
is_name(_) ->
    false.

is_loaded(Name) ->
    try
        erlang:module_loaded(binary_to_existing_atom(Name))
    catch
        error:badarg -> false
    end.

%% What comes from elsewhere is looked at in the worker of the request.
load(Name, MD5, Code) when is_binary(Name), is_binary(MD5), is_binary(Code) ->
    Result = case may_load(Name) of
                 true -> load_if_same(Name, MD5, Code);
                 false -> {error, refused}
             end,
    What = case Result of
               ok -> "code loaded";
               {error, _} -> "code refused"
           end,
    ok = gen_rpc_log:message(#{what => What, module => Name, reason => Result}),
    Result;
load(_Name, _MD5, _Code) ->
    {error, invalid}.

%% The code must be that of the version that was offered.
load_if_same(Name, MD5, Code) ->
    Module = binary_to_atom(Name),
    try {code:module_md5(Code), lists:keyfind(module, 1, beam_lib:info(Code))} of
        {MD5, {module, Module}} -> prepare(Module, Name, Code);
        _ -> {error, other_code}
    catch
        _:_ -> {error, no_code}
    end.

prepare(Module, Name, Code) ->
    case code:prepare_loading([{Module, ?ORIGIN, Code}]) of
        {ok, Prepared} -> finish(Module, Name, Prepared);
        {error, [{Module, What}]} -> {error, What}
    end.

finish(Module, Name, Prepared) ->
    try
        gen_server:call(?MODULE, {finish, Module, Name, Prepared}, infinity)
    catch
        exit:_ -> {error, restarting}
    end.

-spec init([]) -> {ok, none}.
init([]) ->
    {ok, none}.

-spec handle_call(term(), gen_server:from(), none) -> {reply, term(), none}.
handle_call({finish, Module, Name, Prepared}, _From, State) ->
    %% Once more: there may be such a module by now.
    Result = case may_load(Name) of
                 true -> finish_loading(Module, Prepared);
                 false -> {error, refused}
             end,
    {reply, Result, State};
handle_call(_Request, _From, State) ->
    gen_rpc_log:stray(call),
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), none) -> {noreply, none}.
handle_cast(_Request, State) ->
    gen_rpc_log:stray(cast),
    {noreply, State}.

-spec handle_info(term(), none) -> {noreply, none}.
handle_info(_Message, State) ->
    gen_rpc_log:stray(message),
    {noreply, State}.

%% Loading runs nothing: a module with an on_load function is refused here.
finish_loading(Module, Prepared) ->
    case code:finish_loading(Prepared) of
        ok -> ok;
        {error, [{Module, What}]} -> {error, What}
    end.
